"""Word lists: YAML files that hold an attribute schema, and changes to one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from fashret.errors import ConfigError

PARTS = ("garments", "attributes", "names")
"""The parts of a schema."""

_PACKAGED = Path(__file__).parent / "schemas"


def schema_names() -> list[str]:
    """List the names of the word lists that come with fashret."""
    return sorted(path.stem for path in _PACKAGED.glob("*.yaml"))


def read_schema(name: str, *, opened: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a word list, together with the one that it starts from.

    Args:
        name: one of `schema_names()`, or the path of a YAML file.
        opened: paths of the files whose `base` this file is, to detect cycles.

    Returns:
        `garments`, `attributes` and `names`, as far as the file and its base have them.

    Raises:
        ConfigError: the file does not exist, or is not a word list.
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
        content = yaml.safe_load(text)
        duplicates = list(_duplicate_keys(yaml.compose(text, yaml.SafeLoader)))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise ConfigError(f"data.schema={name}: the file cannot be read: {e}") from e
    if duplicates:
        raise ConfigError(f"data.schema={name}: {', '.join(duplicates)} occurs twice in the file")
    check_parts(content, f"data.schema={name}")
    base = content.pop("base", None)
    if base is None:
        return dict(content)
    sibling = path.parent / str(base)
    start = str(sibling) if sibling.is_file() else str(base)
    return merge_changes(read_schema(start, opened=(*opened, path.resolve())), content)


def check_parts(value: object, key: str) -> None:
    """Check that a value is a mapping with the parts of a schema.

    Args:
        value: content of a file, or a value of the configuration.
        key: config key of the value, for the message.

    Raises:
        ConfigError: it is not a mapping, or has other parts.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}: a word list is a mapping of {', '.join(PARTS)}, not {value!r}")
    if unknown := [str(part) for part in value if part not in (*PARTS, "base")]:
        raise ConfigError(
            f"{key} has {', '.join(unknown)}; a word list has {', '.join(PARTS)}, and may have "
            "base, the word list that it changes"
        )


def merge_changes(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Apply changes to a schema: mappings are merged, anything else is replaced, null removes.

    >>> merge_changes({"a": {"b": [1], "c": [2]}}, {"a": {"b": [3], "c": None}})
    {'a': {'b': [3]}}
    """
    result = dict(base)
    for key, value in changes.items():
        before = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = merge_changes(before, value)
        else:
            result[key] = value
    return result


def _duplicate_keys(node: yaml.Node | None) -> Iterator[str]:
    """Yield keys that occur twice in a mapping: YAML itself keeps the last one silently."""
    if isinstance(node, yaml.MappingNode):
        keys = [str(key.value) for key, _ in node.value]
        for key, value in node.value:
            if keys.count(str(key.value)) > 1:
                yield f"{key.value} (line {key.start_mark.line + 1})"
            yield from _duplicate_keys(value)
