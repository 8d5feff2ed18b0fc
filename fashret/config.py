"""Configuration: where it is, whether it is right, and the objects made of it.

`build` is the one place that turns a configuration into objects.
"""

import difflib
import importlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, Node
from omegaconf.errors import OmegaConfBaseException

from fashret.errors import ConfigError

ALLOWED_TARGETS = ("fashret.", "pytorch_lightning.", "torch.optim.", "torchmetrics.")
"""What a `_target_` may name: a configuration makes parts of a run, it runs nothing else."""

EXTENSIONS = "FASHRET_EXTENSIONS"
"""The environment variable that names packages of the user's own, separated by commas."""

DEFAULT_MONITOR = "val/text/pair/mrr@10"
"""The metric that `monitor: null` stands for."""

_RESERVED = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}


def config_dir() -> str:
    """The folder of the configuration: the installed package's own, else the checkout's."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return str(folder)
    raise ConfigError(f"no configuration beside {package}: reinstall fashret")


def monitored_metric(cfg: DictConfig) -> str:
    """The metric that `best` means and a sweep compares."""
    return DEFAULT_MONITOR if cfg.get("monitor") is None else str(cfg.monitor)


def build(node: DictConfig, **live: Any) -> Any:
    """Make what a node describes; live objects go in by name.

    Raises:
        ConfigError: a value does not fit.
    """
    from hydra.utils import instantiate

    try:
        return instantiate(node, _convert_="all", **live)
    except Exception as e:
        cause = e.__cause__
        if isinstance(cause, Exception) and type(cause).__module__ == "fashret.errors":
            raise cause from None
        if isinstance(cause, TypeError | ValueError) or isinstance(e, OmegaConfBaseException):
            raise ConfigError(f"{node.get('_target_')} cannot be made: {cause or e}") from e
        raise


def check(cfg: DictConfig, reference: DictConfig, live: Mapping[str, set[str]]) -> None:
    """Look at every key of a configuration before anything is built.

    A node with a `_target_` is held against the target's signature, any other against the same
    node of `reference`; a new child that has a `_target_` of its own (a callback, say) is welcome.

    Args:
        cfg: the composed configuration.
        reference: the same groups composed without an experiment or overrides.
        live: for a node's path the arguments that are given at the call site.

    Raises:
        ConfigError: naming every fault at once, with the nearest right name.
    """
    faults = [f"{key} is not set: {key}=<value>" for key in _missing(cfg, "")]
    faults += _walk(cfg, reference, "", live)
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise ConfigError(f"the configuration has {len(faults)} fault(s):\n{lines}")


def nearest(name: str, known: list[str]) -> str:
    """A hint at the known name that is nearest, or at all of them if none is near."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(sorted(known))}" if known else "there are none"


def nearest_key(key: str, reference: DictConfig) -> str:
    """A hint at the dotted key of a configuration that is nearest."""
    known = list(_keys(reference, ""))
    parent, _, leaf = key.rpartition(".")
    siblings = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == parent]
    near = difflib.get_close_matches(leaf, siblings, n=1, cutoff=0.6)
    if near:
        return f"did you mean {f'{parent}.' if parent else ''}{near[0]}?"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if not near:  # the right leaf in the wrong place
        near = [k for k in known if k.rpartition(".")[2] == leaf][:1]
    if near:
        return f"did you mean {near[0]}?"
    if siblings:
        return f"{parent or 'the top level'} has {', '.join(sorted(siblings))}"
    return f"there is no {parent}"


def _walk(
    node: DictConfig, reference: DictConfig | None, path: str, live: Mapping[str, set[str]]
) -> Iterator[str]:
    """The faults of a node and of everything below it."""
    makes = "_target_" in node
    if makes:
        yield from _check_target(node, path, live.get(path, set()))
    known = None if makes or reference is None else [str(key) for key in reference]
    for key in node:
        name = str(key)
        where = f"{path}.{name}" if path else name
        child = _child(node, key)
        if child is not None and "_target_" in child:
            yield from _walk(child, None, where, live)
        elif known is not None and name not in known:
            yield f"{where}: there is no such key; {nearest(name, known)}"
        elif child is not None and not makes:  # a plain mapping in a target is a value of its own
            assert reference is not None
            yield from _walk(child, _child(reference, name), where, live)


def _check_target(node: DictConfig, path: str, live: set[str]) -> Iterator[str]:
    """Hold a node's keys against the signature of its target."""
    target = str(node["_target_"])
    own = [name.strip() for name in os.environ.get(EXTENSIONS, "").split(",")]
    allowed = (*ALLOWED_TARGETS, *(f"{name}." for name in own if name))
    if not target.startswith(allowed):
        yield (
            f"{path}._target_: {target} is not one of {', '.join(f'{name}*' for name in allowed)}; "
            f"{EXTENSIONS}={target.split('.')[0]} allows it"
        )
        return
    try:
        signature = inspect.signature(_locate(target))
    except (ImportError, AttributeError, ValueError) as e:
        yield f"{path}._target_: {target} cannot be found ({e})"
        return
    parameters = signature.parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    names = [p.name for p in parameters]
    given = {str(key) for key in node} - _RESERVED
    for name in sorted(given - set(names)):
        yield f"{path}.{name}: {target} has no such argument; {nearest(name, names)}"
    if node.get("_partial_"):
        return
    for parameter in parameters:
        required = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        if required and parameter.name not in given | live:
            yield f"{path}.{parameter.name} is missing: {target} needs it"


def _locate(target: str) -> Callable[..., Any]:
    """The object of a dotted path."""
    module, _, name = target.rpartition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def _child(node: DictConfig, key: Any) -> DictConfig | None:
    """A child that is a mapping, None for any other."""
    child = node._get_node(key)
    plain = isinstance(child, DictConfig) and not child._is_none() and not child._is_missing()
    return child if plain and isinstance(child, DictConfig) else None


def _missing(node: DictConfig, path: str) -> Iterator[str]:
    """Every key that is `???`; one that only refers to such a key is not another fault."""
    for key in node:
        where = f"{path}.{key!s}" if path else str(key)
        held = node._get_node(key)
        if isinstance(held, Node) and held._value() == "???":
            yield where
        child = _child(node, key)
        if child is not None:
            yield from _missing(child, where)


def _keys(node: DictConfig, path: str) -> Iterator[str]:
    """Every dotted key of a configuration."""
    for key in node:
        where = f"{path}.{key!s}" if path else str(key)
        yield where
        child = _child(node, key)
        if child is not None:
            yield from _keys(child, where)
