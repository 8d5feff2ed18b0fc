"""Options that have a default in the code and a value in the configuration."""

import importlib
import inspect
from pathlib import Path

import yaml

from fashret.config import config_dir

GROUPS = ("loss", "miner", "block_loss", "retrieval", "model", "targets")


def plain(value: object) -> object:
    """A default as YAML has it."""
    return list(value) if isinstance(value, tuple) else value


def read(path: Path) -> dict[str, object]:
    """A file with what it takes over from others of its folder."""
    own = yaml.safe_load(path.read_text())
    for name in own.get("defaults", []):
        if "@" not in name and name != "_self_":
            own = read(path.with_name(f"{name}.yaml")) | own
    return own  # type: ignore[no-any-return]


def targets(node: object, found: list[dict[str, object]]) -> list[dict[str, object]]:
    """Every node of a configuration that names a class."""
    if isinstance(node, dict):
        if "_target_" in node:
            found.append(node)
        for child in node.values():
            targets(child, found)
    return found


def test_what_is_configured_is_what_the_code_does_by_itself() -> None:
    """A default stands in two files; here they are compared."""
    conf = Path(config_dir())
    compared = []
    for path in sorted(
        p
        for group in ("loss", "miner", "block_loss", "retrieval", "model", "data", "targets")
        for p in conf.glob(f"{group}/*.yaml")
    ):
        for node in targets(read(path), []):
            module, _, name = str(node["_target_"]).rpartition(".")
            options = inspect.signature(getattr(importlib.import_module(module), name)).parameters
            for option in options.keys() & node.keys():
                value = node[option]
                if options[option].default is inspect.Parameter.empty or "${" in str(value):
                    continue  # what a run has, and nobody else
                assert plain(options[option].default) == value, f"{path.name}: {name}.{option}"
                compared.append((name, option))
    assert len(set(compared)) == 37, sorted(set(compared))
