"""Nodes of a configuration that would run code."""

from pathlib import Path
from typing import Any


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


HOSTILE: dict[str, dict[str, Any]] = {
    "psutil.Popen": {"args": ["touch", "{folder}/executed"]},
    "pandas.read_pickle": {"filepath_or_buffer": "{folder}/bomb.pkl"},
    "numpy.load": {"file": "{folder}/bomb.npy", "allow_pickle": True},
    "torch.load": {"f": "{folder}/bomb.pt", "weights_only": False},
    "joblib.load": {"filename": "{folder}/bomb.pkl"},
    # the same functions, by way of modules that fashret, Lightning and torch import
    "fashret.data.items.np.load": {"file": "{folder}/bomb.npy", "allow_pickle": True},
    "torch.optim.adam.torch.load": {"f": "{folder}/bomb.pt", "weights_only": False},
    "pytorch_lightning.callbacks.model_checkpoint.torch.load": {
        "f": "{folder}/bomb.pt",
        "weights_only": False,
    },
}
"""Targets that run code, and the arguments with which they do."""


def hostile(target: str, folder: Path) -> dict[str, Any]:
    """A node that makes `executed` in the folder."""

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(part) for part in value]
        return value.replace("{folder}", str(folder)) if isinstance(value, str) else value

    return {"_target_": target} | {name: filled(value) for name, value in HOSTILE[target].items()}


def placed(node: dict[str, Any], place: str) -> Any:
    """A value that has a node in it."""
    return {"itself": node, "mapping": {"a": {"b": node}}, "list": [1, [{"a": node}]]}[place]


PATHS = {"itself": "", "mapping": ".a.b", "list": "[1][0].a"}
