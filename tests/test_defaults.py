"""Options that have a default in the code and a value in the configuration."""

import dataclasses
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from fashret.config import config_dir
from fashret.instantiate import instantiate
from support.commands import composed

GROUPS = ("loss", "miner", "block_loss", "retrieval", "model", "data", "targets")


def options() -> list[tuple[str, str]]:
    """Every option of the groups."""
    return [
        (group, path.stem)
        for group in GROUPS
        for path in sorted(Path(config_dir(), group).glob("*.yaml"))
    ]


def targets(node: object, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every node of a configuration that names a class."""
    if isinstance(node, dict):
        if "_target_" in node:
            found.append(node)
        for child in node.values():
            targets(child, found)
    return found


def default_of(target: Any, option: str) -> Any:
    """The default of an argument; `inspect.Parameter.empty` for none."""
    if dataclasses.is_dataclass(target):
        (field,) = (f for f in dataclasses.fields(target) if f.name == option)
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
    return inspect.signature(target).parameters[option].default


def plain(value: Any) -> Any:
    """A value as YAML has it, without the keys that a mapping leaves null."""
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items() if part is not None}
    return value


def unresolved(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain containers, its interpolations as they are written."""
    held: Any = OmegaConf.to_container(cfg, resolve=False)
    return held


@pytest.mark.run
def test_what_is_configured_is_what_the_code_does_by_itself() -> None:
    """A default stands in two files; here they are compared."""
    compared, factories = set(), set()
    for group, option in options():
        overrides = [f"{group}={option}", "optimizer=adamw"]
        node = unresolved(composed("train", overrides)).get(group)
        own = yaml.safe_load(Path(config_dir(), group, f"{option}.yaml").read_text()) or {}
        for held in targets(node, []):
            module, _, name = str(held["_target_"]).rpartition(".")
            target = getattr(importlib.import_module(module), name)
            for key in inspect.signature(target).parameters.keys() & held.keys():
                default, value = default_of(target, key), held[key]
                if default is inspect.Parameter.empty or any(
                    m in str(value) for m in ("???", "${")
                ):
                    continue  # what a run, or its user, has to say
                if "_target_" not in own and held is node and key in own:
                    continue  # a variant of another option
                if isinstance(value, dict) and "_target_" in value:
                    value = instantiate(value)
                    factories.add((name, key))
                assert plain(default) == plain(value), f"{group}={option}: {name}.{key}"
                compared.add((name, key))
    assert len(compared) > 280, sorted(compared)
    assert factories >= {("Sample", "groups"), ("Sample", "augment")}
