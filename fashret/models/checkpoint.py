"""Checkpoints of runs: finding, reading without executing code, and loading their weights."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from fashret.errors import CheckpointError
from fashret.models.spec import ModelSpec

RETRIEVER = "retriever."
"""The prefix of the retriever's weights in a checkpoint's state dict."""


class Trainable(Protocol):
    """A model that knows which of its weights are trained, such as a `Retriever`."""

    def add_parts(self, spec: ModelSpec) -> Any:
        """Add the attribute heads and the composer that a spec names."""
        ...

    def set_training(self, spec: ModelSpec, *, text: bool = True) -> None:
        """Set the parameters that are trained, by the spec."""
        ...

    def learned_state(self) -> dict[str, Tensor]:
        """Return the trained weights, which a checkpoint stores."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = ...) -> Any:
        """Load weights."""
        ...


_OF_ANOTHER_FORM = (KeyError, TypeError, ValueError, IndexError, AttributeError)
"""What reading a file of other contents raises, such as a single tensor."""

Model = TypeVar("Model", bound=Trainable)


def checkpoint_path(run: str | None, ckpt: str) -> Path:
    """Find the checkpoint that `run` and `ckpt` name.

    Args:
        run: path of a run folder; None where `ckpt` is a file.
        ckpt: last, best, or the path of a checkpoint file.

    Raises:
        CheckpointError: the run folder or the checkpoint does not exist.
    """
    if run is None:
        path = Path(ckpt).expanduser()
        if not path.is_file():
            raise CheckpointError(
                f"ckpt={ckpt}: file not found; use ckpt=last or ckpt=best together with "
                "run=<run folder>"
            )
        return path
    folder = Path(run).expanduser()
    if not folder.is_dir():
        raise CheckpointError(f"run={run}: folder not found; give the folder that train.py wrote")
    path = folder / "checkpoints" / f"{ckpt}.ckpt" if ckpt in ("last", "best") else Path(ckpt)
    if not path.is_file():
        existing = sorted(p.name for p in (folder / "checkpoints").glob("*.ckpt"))
        raise CheckpointError(
            f"checkpoint not found: {path}; the run has {', '.join(existing) or 'no checkpoint'}"
        )
    return path


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the configuration and the trained weights; nothing in the file is executed.

    Raises:
        CheckpointError: it cannot be read, or was not written by fashret.
    """
    loaded = _loaded(path)
    try:
        return dict(loaded["hyper_parameters"]["config"]), loaded["state_dict"]
    except _OF_ANOTHER_FORM as e:
        raise CheckpointError(
            f"{path} is not a checkpoint of fashret: it has no configuration and trained weights"
        ) from e


def trained_epochs(path: Path) -> int:
    """Return the number of complete epochs that a checkpoint was trained for.

    Raises:
        CheckpointError: it cannot be read.
    """
    loaded = _loaded(path, mmap=True)
    try:
        return int(loaded["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except _OF_ANOTHER_FORM as e:
        raise CheckpointError(f"{path} is not a checkpoint of a training run") from e


def _loaded(path: Path, *, mmap: bool = False) -> Any:
    """Read a file that torch.save wrote; nothing in it is executed."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as e:  # torch raises various errors for a broken file
        why = f"{type(e).__name__}: {str(e)[:200].partition(chr(10))[0]}"
        if isinstance(e, UnpicklingError) and "Weights only load failed" in str(e):
            why = "it holds objects that only running code could make"
        raise CheckpointError(f"{path} cannot be read as a checkpoint of fashret ({why})") from e


def with_weights(state: Mapping[str, Tensor], retriever: Model, spec: ModelSpec) -> Model:
    """Add the heads of a spec to a retriever, and load the trained weights of a checkpoint.

    Args:
        state: the checkpoint's state dict, from `read_checkpoint`.
        retriever: the untrained model; modified in place.
        spec: the spec of the checkpoint's model.

    Returns:
        The retriever.

    Raises:
        CheckpointError: the checkpoint is of another model.
    """
    # A run that compares photos with photos has no weights of texts; heads of another width are
    # in the checkpoint anyway.
    names = [name.removeprefix(RETRIEVER) for name in state]
    if spec.dim is not None:
        names = [name for name in names if not name.startswith("text_head.")]
    text = any(map(is_text_weight, names))
    retriever.add_parts(spec).set_training(spec, text=text)
    load_learned(state, retriever)
    return retriever


def load_learned(state: Mapping[str, Tensor], retriever: Trainable) -> None:
    """Load the trained weights of a checkpoint into a retriever.

    Args:
        state: the checkpoint's state dict, from `read_checkpoint`.
        retriever: modified in place.

    Raises:
        CheckpointError: see `check_state`.
    """
    check_state(state, retriever)
    weights = {
        name.removeprefix(RETRIEVER): value
        for name, value in state.items()
        if name.startswith(RETRIEVER)
    }
    retriever.load_state_dict(weights, strict=False)


def is_text_weight(name: str) -> bool:
    """Return whether a parameter of a retriever belongs to its text tower or to a text head."""
    of_tower = name.startswith("backbone.") and not name.startswith("backbone.clip.visual.")
    return of_tower or name.startswith(("text_head.", "block_texts."))


def check_state(state: Mapping[str, Tensor], retriever: Trainable) -> None:
    """Compare the names and shapes of a checkpoint's weights with those that are trained.

    Raises:
        CheckpointError: they differ, so that loading would leave some weights untrained.
    """
    expected = {RETRIEVER + name: value for name, value in retriever.learned_state().items()}
    stored = {name: value for name, value in state.items() if name.startswith(RETRIEVER)}
    missing, unexpected = expected.keys() - stored.keys(), stored.keys() - expected.keys()
    shapes = [n for n in expected.keys() & stored.keys() if expected[n].shape != stored[n].shape]
    if missing or unexpected or shapes:
        raise CheckpointError(
            f"the checkpoint is of another model: missing {sorted(missing)[:3]}, unexpected "
            f"{sorted(unexpected)[:3]}, of another shape {sorted(shapes)[:3]}"
        )


def learned_digest(state: Mapping[str, Tensor]) -> str:
    """Hash the trained weights of a retriever: the key of a trained model's catalog."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.startswith(RETRIEVER):
            value = state[name].detach().cpu().contiguous()
            digest.update(name.encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
