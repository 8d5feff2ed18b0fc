"""Word lists: YAML files that hold an attribute schema, and changes to one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from fashret.errors import ConfigError

PARTS = ("garments", "attributes", "names")
"""What a schema holds."""

_PACKAGED = Path(__file__).parent / "schemas"


def schema_names() -> list[str]:
    """The word lists that fashret brings along."""
    return sorted(path.stem for path in _PACKAGED.glob("*.yaml"))


def read_schema(name: str, *, opened: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a word list, together with the one that it starts from.

    Args:
        name: one of `schema_names()`, or the path of a YAML file.
        opened: the files that led here through their `base`.

    Returns:
        `garments`, `attributes` and `names`, as far as the file and its base have them.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    packaged = name in schema_names()
    path = _PACKAGED / f"{name}.yaml" if packaged else Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"data.schema={name}: file not found; give one of {', '.join(schema_names())}, or the "
            "path of a YAML file (docs/data.md#attributes-from-texts)"
        )
    if path.resolve() in opened:
        raise ConfigError(f"data.schema={name}: the file names itself as its base")
    try:
        text = path.read_text(encoding="utf-8")
        held, twice = yaml.safe_load(text), list(_twice(yaml.compose(text, yaml.SafeLoader)))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise ConfigError(f"data.schema={name}: the file cannot be read: {e}") from e
    if twice:
        raise ConfigError(f"data.schema={name}: {', '.join(twice)} stands twice in the file")
    check_parts(held, f"data.schema={name}")
    base = held.pop("base", None)
    if base is None:
        return dict(held)
    beside = path.parent / str(base)
    start = str(beside) if beside.is_file() else str(base)
    return changed(read_schema(start, opened=(*opened, path.resolve())), held)


def check_parts(held: object, key: str) -> None:
    """Make sure that a value is a mapping with the parts of a schema.

    Args:
        held: what a file or a configuration holds.
        key: names it in a message.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(held, Mapping):
        raise ConfigError(f"{key}: a word list is a mapping of {', '.join(PARTS)}, not {held!r}")
    if unknown := [str(part) for part in held if part not in (*PARTS, "base")]:
        raise ConfigError(
            f"{key} has {', '.join(unknown)}; a word list has {', '.join(PARTS)}, and may have "
            "base, the word list that it changes"
        )


def changed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Apply changes to a schema: mappings are merged, anything else is replaced, null removes.

    >>> changed({"a": {"b": [1], "c": [2]}}, {"a": {"b": [3], "c": None}})
    {'a': {'b': [3]}}
    """
    result = dict(base)
    for key, value in changes.items():
        before = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = changed(before, value)
        else:
            result[key] = value
    return result


def _twice(node: yaml.Node | None) -> Iterator[str]:
    """The keys that stand twice in a mapping: YAML itself keeps the last and drops the others."""
    if isinstance(node, yaml.MappingNode):
        keys = [str(key.value) for key, _ in node.value]
        for key, value in node.value:
            if keys.count(str(key.value)) > 1:
                yield f"{key.value} (line {key.start_mark.line + 1})"
            yield from _twice(value)
