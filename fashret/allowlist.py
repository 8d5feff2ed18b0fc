"""The classes that a configuration may instantiate by `_target_`. Light to import.

A configuration may come from an untrusted checkpoint, run folder or experiment file, so it may only
instantiate the parts of a run.
"""

import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fashret.errors import ConfigError
from fashret.renamed import current_target

EXTENSIONS = "FASHRET_EXTENSIONS"
"""The environment variable with the user's own packages that are allowed, comma-separated."""

OWN_PACKAGES = (
    "data", "engine", "evaluation", "losses", "miners", "models", "reports", "tasks",
)  # fmt: skip
"""The packages of fashret whose public classes are allowed; not those of commands and server."""

OWN_FUNCTIONS = ("fashret.engine.schedules",)
"""The modules of fashret whose public functions are allowed as well."""

LIBRARIES = {
    "pytorch_lightning": "pytorch_lightning lightning_fabric",
    "pytorch_lightning.accelerators": "pytorch_lightning",
    "pytorch_lightning.callbacks": "pytorch_lightning",
    "pytorch_lightning.loggers": "pytorch_lightning",
    "pytorch_lightning.plugins": "pytorch_lightning lightning_fabric",
    "pytorch_lightning.plugins.environments": "lightning_fabric",
    "pytorch_lightning.plugins.io": "pytorch_lightning lightning_fabric",
    "pytorch_lightning.plugins.precision": "pytorch_lightning",
    "pytorch_lightning.profilers": "pytorch_lightning",
    "pytorch_lightning.strategies": "pytorch_lightning",
    "torch.optim": "torch.optim",
    "torch.optim.lr_scheduler": "torch.optim",
    "torch.optim.swa_utils": "torch.optim",
    "torchmetrics": "torchmetrics",
    "torchmetrics.aggregation": "torchmetrics",
    "torchmetrics.classification": "torchmetrics",
    "torchmetrics.regression": "torchmetrics",
    "torchmetrics.retrieval": "torchmetrics",
}
"""Public modules of other packages whose classes are allowed, and where these are defined."""

_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+")


def allowed_target(target: object) -> Callable[..., Any]:
    """Import the class or function that a `_target_` names, if it is on the allow-list.

    A module that is not allowed is not imported. The object itself is checked as well as its path,
    since an allowed module also contains objects that it imports from elsewhere.

    Args:
        target: the dotted path of a class, or of a function in `OWN_FUNCTIONS`.

    Raises:
        ConfigError: the target is not allowed or does not exist; the message begins with it.
    """
    if not isinstance(target, str) or not _NAME.fullmatch(target):
        raise ConfigError(f"{target!r} is not the dotted path of a public class")
    target = current_target(target)
    module, _, name = target.rpartition(".")
    own = [part.strip() for part in os.environ.get(EXTENSIONS, "").split(",")]
    extension = next((e for e in own if e and f"{module}.".startswith(f"{e}.")), None)
    package = next((p for p in OWN_PACKAGES if f"{module}.".startswith(f"fashret.{p}.")), None)
    if extension is None and package is None and module not in LIBRARIES:
        raise ConfigError(f"{target} is not allowed; {_what_is_allowed(target)}")
    try:
        imported = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as e:
        raise ConfigError(f"{target} cannot be found ({e})") from e
    if extension is not None:
        fits = _is_defined_in(imported, [extension]) and callable(imported)
    elif package is not None:
        fits = _is_defined_in(imported, ["fashret"]) and _is_public(imported, module, name)
        fits = fits and (inspect.isclass(imported) or module in OWN_FUNCTIONS)
    else:
        fits = _is_defined_in(imported, LIBRARIES[module].split()) and inspect.isclass(imported)
    if not fits:
        raise ConfigError(
            f"{target} is not allowed: it is not a public class that {module} defines or exports; "
            f"{_what_is_allowed(target)}"
        )
    checked: Callable[..., Any] = imported
    return checked


def target_faults(value: object, path: str) -> Iterator[str]:
    """Yield a message for every `_target_` in a value, at any depth, that is not allowed.

    Args:
        value: plain dicts, lists and scalars.
        path: the dotted key of the value, for the messages.
    """
    if isinstance(value, Mapping):
        if "_target_" in value:
            try:
                allowed_target(value["_target_"])
            except ConfigError as e:
                yield f"{path}._target_: {e}"
        for key, part in value.items():
            yield from target_faults(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for number, part in enumerate(value):
            yield from target_faults(part, f"{path}[{number}]")


def _is_defined_in(item: object, packages: Sequence[str]) -> bool:
    where = f"{getattr(item, '__module__', None)}."
    return any(where.startswith(f"{package}.") for package in packages)


def _is_public(item: object, module: str, name: str) -> bool:
    """Whether a module of fashret defines it under this name, or exports it in `__all__`."""
    if getattr(item, "__qualname__", None) != name:
        return False
    exported = getattr(importlib.import_module(module), "__all__", ())
    return name in exported or getattr(item, "__module__", None) == module


def _what_is_allowed(target: str) -> str:
    root = target.split(".")[0]
    allowed = "a configuration may name public classes of fashret, pytorch_lightning, torch.optim "
    allowed += "and torchmetrics"
    if root in ("fashret", "pytorch_lightning", "torch", "torchmetrics"):
        return allowed
    return f"{allowed}; if {root} is a package of your own, {EXTENSIONS}={root} allows it"
