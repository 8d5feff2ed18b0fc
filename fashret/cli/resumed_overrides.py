"""Rebuild the command line of a resumed run, `resume=<run folder>`. Light to import.

The run folder may be untrusted, so its overrides are validated.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fashret.allowlist import target_faults
from fashret.errors import CheckpointError

_WRITERS = ("callbacks", "logger", "paths", "trainer")
"""The groups whose objects write files during training."""

_PATHS = ("path", "dirpath", "filename", "save_dir", "default_root_dir", "output_dir")
"""The options of these groups that are paths."""


def with_resumed_overrides(arguments: list[str]) -> list[str]:
    """Return the command line of a resumed run: the overrides of the run, then the new ones.

    Without `resume=<run folder>` the arguments are returned unchanged.

    Args:
        arguments: the command line, without the program.

    Raises:
        CheckpointError: the folder is not a run folder, has no checkpoint, or its overrides do
            something that is not allowed.
    """
    given = [_named_run(a) for a in arguments if a.startswith("resume=")]
    if not given or given[-1] in ("", "null"):
        return arguments
    folder = Path(given[-1]).expanduser()
    path = folder / ".hydra" / "overrides.yaml"
    if not path.is_file():
        raise CheckpointError(
            f"resume={given[-1]} is not a run folder: it holds no .hydra/overrides.yaml"
        )
    if not (folder / "checkpoints" / "last.ckpt").is_file():
        raise CheckpointError(
            f"resume={given[-1]}: the run has no checkpoints/last.ckpt to resume from; start a "
            "new run"
        )
    first = [override for override in _read(path) if not override.startswith("resume=")]
    again = {_key(argument) for argument in arguments}
    faults = [fault for o in first for fault in _faults(o, folder, given_again=_key(o) in again)]
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise CheckpointError(f"resume={given[-1]}: {path} is refused:\n{lines}")
    return [*first, *arguments, f"hydra.run.dir={quoted(folder)}"]


def quoted(path: str | Path) -> str:
    """A path as the value of an override, in quotation marks where it needs them."""
    if re.fullmatch(r"[\w./+@%:-]+", str(path)):
        return str(path)
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _named_run(argument: str) -> str:
    """The folder that `resume=` names, with or without quotation marks."""
    try:
        value = OverridesParser.create().parse_overrides([argument])[0].value()
    except OverrideParseException:
        return argument.removeprefix("resume=")
    return "null" if value is None else str(value)


def _read(path: Path) -> list[str]:
    """Read the overrides of a run folder.

    Raises:
        CheckpointError: the file cannot be read, or is not a list of overrides.
    """
    try:
        overrides = OmegaConf.to_container(OmegaConf.load(path))
    except (OmegaConfBaseException, OSError, ValueError) as e:
        raise CheckpointError(f"{path} cannot be read: {e}") from e
    if not isinstance(overrides, list) or not all(isinstance(each, str) for each in overrides):
        raise CheckpointError(f"{path} is not a list of overrides")
    return [str(override) for override in overrides]


def _faults(override: str, folder: Path, *, given_again: bool) -> Iterator[str]:
    """The faults of an override of a resumed run.

    `hydra.*` is refused, since Hydra instantiates it before fashret can check it; so are flags,
    which could name another configuration folder.
    """
    try:
        parsed = OverridesParser.create().parse_overrides([override])[0]
    except OverrideParseException:
        yield f"{override} is not an override"
        return
    for name in (parsed.key_or_group, parsed.package or ""):
        if re.split(r"[./@:\[]", name)[0] == "hydra":
            yield f"{override}: the overrides of a resumed run may not touch hydra.*"
            return
    value = None if parsed.is_sweep_override() else parsed.value()
    parent, _, leaf = parsed.key_or_group.rpartition(".")
    yield from target_faults({leaf: value}, parent)
    if not given_again and parsed.key_or_group.split(".")[0] in _WRITERS:
        for key, path in _outside(parsed.key_or_group, value, folder):
            yield (
                f"{key}={path} would write outside of the run folder; if you want that, give "
                f"{parsed.key_or_group}= again on the command line"
            )


def _outside(key: str, value: object, folder: Path) -> Iterator[tuple[str, str]]:
    """The paths in a value that are outside of the run folder, with their keys."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _outside(f"{key}.{name}", part, folder)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _outside(f"{key}[{number}]", part, folder)
    elif isinstance(value, str) and key != "paths.cache_dir":
        name = key.rpartition(".")[2]
        inside = value.replace("${paths.output_dir}", str(folder.absolute()))
        path = Path(inside).expanduser()
        if path.is_absolute() or (name in _PATHS and name != "filename"):
            leaves = not path.resolve().is_relative_to(folder.resolve())
        else:
            leaves = ".." in path.parts or "://" in inside
        if leaves or (name in _PATHS and "${" in inside):
            yield key, value


def _key(override: str) -> str:
    """The key of an override, without + and ~."""
    return override.split("=", 1)[0].lstrip("+~")
