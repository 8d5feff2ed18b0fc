"""Find, check and instantiate configurations.

`build` resolves a node and hands it to `fashret.instantiate`, which applies the allow-list.
"""

import copy
import difflib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fashret.allowlist import allowed_target
from fashret.errors import ConfigError, FashretError
from fashret.instantiate import instantiate
from fashret.names import nearest

if TYPE_CHECKING:
    from fashret.tasks.training import TrainingTask

INSTANTIATED = (
    "data", "model", "loss", "block_loss", "miner", "optimizer", "scheduler", "trainer",
    "retrieval", "protocol", "view",
)  # fmt: skip
"""The groups that are instantiated as one object."""

CHEAP = ("data", "model", "retrieval", "loss", "miner", "block_loss", "report.gallery")
"""Nodes whose objects are cheap to instantiate and check their own arguments."""

_RESERVED = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}


def config_dir() -> str:
    """Return the folder of the configuration: the installed package's, else the checkout's."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return str(folder)
    raise ConfigError(f"no configuration folder conf/ in or beside {package}: reinstall fashret")


def monitored_metric(cfg: DictConfig) -> str:
    """Return the key of the metric that selects the best checkpoint and that a sweep compares."""
    return f"val/{tasks(cfg)[0].metric}" if cfg.get("monitor") is None else str(cfg.monitor)


def tasks(cfg: DictConfig) -> "list[TrainingTask]":
    """Instantiate what a run trains for, in order; captions for a run of before there were tasks.

    Raises:
        ConfigError: there is none, or one is not allowed.
    """
    from fashret.tasks import CaptionTask  # imported here, so that --help does not import torch

    if "task" not in cfg:
        return [CaptionTask()]
    nodes = [] if cfg.task is None else [cfg.task[name] for name in cfg.task]
    if not any(nodes):
        raise ConfigError("task is not set: choose an option, task=<option> (--help lists them)")
    return [build(node) for node in nodes if node is not None]


def build(node: DictConfig, **live: Any) -> Any:
    """Instantiate a node of a configuration.

    Every `_target_` in it, at any depth and in lists, must be on the allow-list
    (`fashret.allowlist`), else nothing is instantiated.

    Args:
        node: a mapping with a `_target_` and its arguments.
        live: further arguments that are objects, by name.

    Raises:
        ConfigError: a target is not allowed, or an argument does not fit.
    """
    try:
        resolved = _resolved(node)
    except OmegaConfBaseException as e:
        raise ConfigError(f"{node.get('_target_')} cannot be instantiated: {e}") from e
    path = str(node._get_full_key(None))
    if faults := list(_unresolved(resolved, path)):
        raise ConfigError("; ".join(faults))
    return instantiate(_container(resolved, resolve=False), path, **live)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Resolve a configuration to plain dicts and lists, which a checkpoint may contain."""
    return _container(cfg, resolve=True)


def _container(cfg: DictConfig, *, resolve: bool) -> dict[str, Any]:
    container = OmegaConf.to_container(cfg, resolve=resolve)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def check(cfg: DictConfig, reference: DictConfig, live: Mapping[str, set[str]]) -> None:
    """Check every key of a configuration before anything is instantiated.

    A node with a `_target_` is compared with the target's signature, any other with the same node
    of `reference`; a new child that has its own `_target_` (such as a callback) is allowed.

    Args:
        cfg: the composed configuration.
        reference: the same groups composed without experiment and overrides.
        live: by path of a node, the arguments that are passed as objects.

    Raises:
        ConfigError: the configuration has faults; the message names all of them, with the nearest
            right names.
    """
    from fashret.config_check import KEYS  # imported here, so that --help does not import pydantic

    faults = [f"{key} is not set: {key}=<value>" for key in _missing(cfg, "")]
    faults += _without_target(cfg, reference)
    faults += _walk(cfg, reference, "", live)
    for key in KEYS:
        parent, _, leaf = key.rpartition(".")
        node = cfg if not parent else _child(cfg, parent) if parent in cfg else None
        if node is not None and leaf in node:
            faults += _value_faults(node, leaf, parent)
    faults += _instantiation_faults(cfg, faults)
    if len(faults) == 1:
        raise ConfigError(faults[0])
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise ConfigError(f"the configuration has {len(faults)} faults:\n{lines}")


def _without_target(cfg: DictConfig, reference: DictConfig) -> Iterator[str]:
    """The faults of groups that should be instantiated but have no `_target_`."""
    for group in INSTANTIATED:
        if group in reference:
            node = cfg._get_node(group) if group in cfg else None
            if not isinstance(node, DictConfig) or node._is_none():
                yield f"{group} is not set: choose an option, {group}=<option> (--help lists them)"
            elif not node._is_missing() and "_target_" not in node:
                yield (
                    f"{group}._target_ is missing: the chosen {group} is a part of other options; "
                    f"choose an option, {group}=<option> (--help lists them)"
                )


def _instantiation_faults(cfg: DictConfig, faults: list[str]) -> Iterator[str]:
    """The faults that cheap objects find in their own arguments, in nodes without other faults."""
    task_nodes = [f"task.{name}" for name in names_in(cfg, "task")]
    for group in (*CHEAP, *task_nodes):
        node = OmegaConf.select(cfg, group, throw_on_missing=False)
        has_fault = any(fault.startswith((f"{group}.", f"{group} ")) for fault in faults)
        if has_fault or not isinstance(node, DictConfig) or "_target_" not in node:
            continue
        try:
            build(node)
        except ConfigError as e:
            yield str(e)
        except FashretError:  # files and weights are checked when they are needed
            continue


def names_in(cfg: DictConfig, group: str) -> list[str]:
    """Return the names in a group of a configuration, none if it has no such group."""
    node = _child(cfg, group) if group in cfg else None
    return [] if node is None else [str(name) for name in node]


def nearest_key(key: str, reference: DictConfig) -> str:
    """Suggest the keys of a configuration that are nearest to an unknown dotted key."""
    existing = list(_keys(reference, ""))
    parent, _, leaf = key.rpartition(".")
    siblings = [k.rpartition(".")[2] for k in existing if k.rpartition(".")[0] == parent]
    siblings = [sibling for sibling in siblings if sibling not in _RESERVED]
    if difflib.get_close_matches(leaf, siblings, n=1, cutoff=0.6):
        return nearest(leaf, siblings, prefix=f"{parent}." if parent else "")
    elsewhere = [k for k in existing if k.rpartition(".")[2] == leaf][:1]  # under another parent
    if not elsewhere and not siblings:
        elsewhere = difflib.get_close_matches(key, existing, n=1, cutoff=0.6)
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    if siblings:
        return f"{parent or 'the top level'}: {nearest(leaf, siblings)}"
    return f"there is no {parent}"


def _resolved(node: DictConfig) -> DictConfig:
    """A copy in which every interpolation is replaced by its value, so that the check sees all."""
    resolved = copy.deepcopy(node)
    resolved._set_flag(["struct", "readonly"], [False, False])
    resolved._set_parent(node._get_parent())
    OmegaConf.resolve(resolved)
    return resolved


def _unresolved(node: DictConfig | ListConfig, path: str) -> Iterator[str]:
    """The values that still contain an interpolation after resolving."""
    listed = isinstance(node, ListConfig)
    for key in range(len(node)) if listed else list(node):
        where = f"{path}[{key!s}]" if listed else f"{path}.{key!s}"
        child = node._get_node(key)
        if isinstance(child, Node) and child._is_interpolation():
            yield f"{where}: {child._value()} is an interpolation within an interpolation's value"
        elif isinstance(child, DictConfig | ListConfig) and isinstance(child._value(), dict | list):
            yield from _unresolved(child, where)


def _walk(
    node: DictConfig, reference: DictConfig | None, path: str, live: Mapping[str, set[str]]
) -> Iterator[str]:
    """The faults of a node and of everything below it."""
    has_target = "_target_" in node
    if has_target:
        yield from _check_target(node, path, live.get(path, set()))
    allowed = None if has_target or reference is None else [str(key) for key in reference]
    for key in node:
        name = str(key)
        where = f"{path}.{name}" if path else name
        child = _child(node, key)
        if child is not None and "_target_" in child:
            yield from _walk(child, None, where, live)
        elif allowed is not None and name not in allowed:
            yield f"{where}: there is no such key; {nearest(name, allowed)}"
        elif child is not None and not has_target:
            below = None if reference is None else _child(reference, name)
            yield from _walk(child, below, where, live)
        else:  # a mapping in a target, or a list, is a value of its own
            yield from _walk_value(node._get_node(key), where, live)


def _walk_value(value: object, path: str, live: Mapping[str, set[str]]) -> Iterator[str]:
    """The faults of the targets in a value whose other keys may be anything."""
    if isinstance(value, DictConfig) and isinstance(value._value(), dict):
        if "_target_" in value:
            yield from _walk(value, None, path, live)
            return
        for key in value:
            yield from _walk_value(value._get_node(key), f"{path}.{key!s}", live)
    elif isinstance(value, ListConfig) and isinstance(value._value(), list):
        for number in range(len(value)):
            yield from _walk_value(value._get_node(number), f"{path}[{number}]", live)


def _check_target(node: DictConfig, path: str, live: set[str]) -> Iterator[str]:
    """The faults of a node's keys by the signature of its target."""
    from fashret.config_check import argument_types

    target = node["_target_"]
    try:
        signature = inspect.signature(allowed_target(target))
    except (ConfigError, ValueError) as e:  # ValueError: a class without a signature
        yield f"{path}._target_: {e}"
        return
    parameters = signature.parameters.values()
    hints = argument_types(allowed_target(target))
    for parameter in parameters:
        if parameter.name in node and parameter.name in hints:
            yield from _value_faults(node, parameter.name, path, hints[parameter.name])
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
        if required and parameter.name not in given | live and "_args_" not in node:
            yield f"{path}.{parameter.name} is missing: {target} requires it"


def _value_faults(node: DictConfig, key: str, path: str, hint: Any = None) -> Iterator[str]:
    """The faults of the type or the range of a node's value, once it is resolved."""
    from fashret.config_check import value_faults

    where = f"{path}.{key}" if path else key
    child = node._get_node(key)
    if isinstance(child, Node) and child._is_interpolation():  # checked at its origin
        return
    try:
        value = node[key]
        if isinstance(value, DictConfig | ListConfig):
            value = OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException:  # a value that is missing is a fault of its own
        return
    yield from value_faults(where, value, hint)


def _child(node: DictConfig, key: Any) -> DictConfig | None:
    """The child of a key if it is a mapping, else None."""
    child = node._get_node(key)
    plain = isinstance(child, DictConfig) and not child._is_none() and not child._is_missing()
    return child if plain and isinstance(child, DictConfig) else None


def _missing(node: DictConfig, path: str) -> Iterator[str]:
    """Every key that is `???`; one that only refers to such a key is not another fault."""
    for key in node:
        where = f"{path}.{key!s}" if path else str(key)
        value = node._get_node(key)
        if isinstance(value, Node) and value._value() == "???":
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
