"""Instantiate the objects of a configuration, without Hydra and OmegaConf.

This is the one place where a `_target_` becomes an object; `fashret.config.build` resolves
OmegaConf's interpolations and calls it. It applies the allow-list (`fashret.allowlist`), since a
configuration may come from an untrusted file.
"""

import functools
from collections.abc import Mapping
from typing import Any

from fashret.allowlist import allowed_target, target_faults
from fashret.errors import ConfigError, FashretError

_INSTRUCTIONS = {"_target_", "_partial_", "_args_", "_convert_", "_recursive_"}


def instantiate(node: Mapping[str, Any], path: str = "", **live: Any) -> Any:
    """Instantiate a node and every node below it that has a `_target_`.

    Args:
        node: a dict with a `_target_` (a class on the allow-list) and its arguments; `_partial_:
            true` gives a `functools.partial`, `_args_` are positional arguments.
        path: the dotted key of the node in its configuration, for messages.
        live: further arguments that are objects, by name.

    Returns:
        The object.

    Raises:
        ConfigError: a target is not allowed (then nothing is instantiated), or an argument does
            not fit.

    Example:
        >>> instantiate({"_target_": "fashret.losses.InfoNCE", "temperature": 0.05}).temperature
        0.05
    """
    faults = list(target_faults(node, path))
    if "_target_" not in node:
        faults.append(f"{path or 'the node'} has no _target_, the class to instantiate")
    if faults:
        raise ConfigError("; ".join(faults))
    return _instantiate_node(node, path, live)


def _instantiate_node(node: Mapping[str, Any], path: str, live: Mapping[str, Any]) -> Any:
    target = allowed_target(node["_target_"])
    arguments = {
        str(key): _value(value, f"{path}.{key}" if path else str(key))
        for key, value in node.items()
        if key not in _INSTRUCTIONS
    }
    positional = _value(list(node.get("_args_", ())), f"{path}._args_")
    try:
        if node.get("_partial_"):
            return functools.partial(target, *positional, **arguments, **live)
        return target(*positional, **arguments, **live)
    except FashretError:
        raise
    except (TypeError, ValueError) as e:
        where = f"{path} ({node['_target_']})" if path else str(node["_target_"])
        raise ConfigError(f"{where} cannot be instantiated: {e}") from e


def _value(value: Any, path: str) -> Any:
    """The value of an argument; nodes in it, also in lists, are instantiated."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return _instantiate_node(value, path, {})
        return {key: _value(part, f"{path}.{key}") for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_value(part, f"{path}[{number}]") for number, part in enumerate(value)]
    return value
