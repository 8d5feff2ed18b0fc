"""The text of `--help`, made without composing a configuration. Light to import."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from fashret.config import config_dir

PURPOSE = {
    "train": "Train a model on products, and report what improved and what regressed.",
    "evaluate": "Evaluate a run, a checkpoint, a catalog, or an untrained model.",
    "build_catalog": "Encode a data set once, into a catalog that can be searched.",
    "demo": "Serve a search page over a catalog.",
    "export": "Write a trained model as a plain open_clip checkpoint.",
    "view": "Look at a data set: its values, disagreements and suspected duplicates.",
}
"""The purpose of each command, by configuration file."""

EXAMPLES = {
    "train": (
        "model=vitb32 trainer.max_epochs=10",
        "data=folder data.root=photos data.table=items.csv",
        "experiment=attribute_aware",
        "resume=outputs/train/<run>",
        "-m loss=infonce,supcon seed=0,1",
    ),
    "evaluate": (
        "run=outputs/train/<run>",
        "run=outputs/train/<run> ckpt=best split=test",
        "run=outputs/train/<run> baseline=<other>",
        "protocol=keyword model=vitb32",
        "run=outputs/train/<run> 'queries=[red floral dress,denim]'",
    ),
    "build_catalog": (
        "model=vitb32",
        "data=folder data.root=photos catalog.dir=catalog",
        "run=outputs/train/<run> catalog.dir=catalog",
        "model=vitb32 catalog.dtype=float16",
        "data=fashion_products data.root=<folder>",
    ),
    "demo": (
        "run=outputs/train/<run>",
        "run=outputs/train/<run> baseline=<other>",
        "run=outputs/train/<run> split=test",
        "data=folder data.root=photos model=vitb32",
        "port=0 results=48",
    ),
    "export": (
        "run=outputs/train/<run> out=bundle",
        "run=outputs/train/<run> ckpt=best out=bundle",
        "run=outputs/train/<run> out=bundle half=false",
        "model=tiny out=bundle",
        "model=vitb32 out=bundle",
    ),
    "view": (
        "data=sample",
        "data=folder data.root=photos",
        "data=folder data.root=photos data.table=items.csv",
        "data=fashion_products data.root=<folder>",
        "data=folder data.root=photos view.alike=null",
    ),
}
"""Example arguments of each command, the most common first."""

_READ_ON = {
    "train": "docs/configuration.md, docs/tour.md",
    "evaluate": "docs/metrics.md, docs/protocols.md",
    "build_catalog": "docs/models.md, docs/data.md",
    "demo": "docs/pages.md",
    "export": "docs/models.md",
    "view": "docs/data.md, docs/pages.md",
}
_WIDTH = 80


def help_text(command: str, *, arguments: Sequence[str] = (), program: str = "") -> str:
    """Return the help of a command, at most 60 lines of 80 columns.

    Args:
        command: the name of its file in conf/.
        arguments: the command line; `--config-dir` in it adds options.
        program: the path of the program that was called; "" if not known.
    """
    call = _call(command, program)
    folders = [Path(config_dir()), *_added_folders(arguments)]
    config = yaml.safe_load((folders[0] / f"{command}.yaml").read_text(encoding="utf-8"))
    lines = [f"usage: {call} [group=option ...] [key=value ...]", "", PURPOSE[command], ""]
    lines += ["Groups and their options; * is the default.", ""]
    groups = list(_groups(config["defaults"]))
    indent = max(len(group) for group, _ in groups) + 3
    for group, default in groups:
        names = _options(folders, group)
        shown = ", ".join(f"{name}*" if name == default else name for name in names)
        shown += "; by default those of the data set" if default == "${data}" else ""
        lines += _wrapped(f"{f'{group}:':{indent}}{shown}", indent)
    keys = [str(key) for key in config if key != "defaults"]
    lines += ["", "Keys of no group:", *_wrapped(f"  {', '.join(keys)}", 2)]
    lines += ["", "Examples:", *(f"  {call} {example}" for example in EXAMPLES[command]), ""]
    lines += ["--cfg job prints every key with its value, --cfg job --package <group> those of"]
    lines += ["one group; -m runs a sweep; --hydra-help lists Hydra's own flags."]
    lines += [f"Read on: {_READ_ON[command]}, and the comments in {_shown(folders[0])}"]
    return "\n".join(lines)


def _call(command: str, program: str) -> str:
    """The command as the user types it."""
    name = Path(program).name
    script = f"{command}.py"
    if name == script:
        inside = Path(program).resolve().parent == Path(__file__).resolve().parent
        return f"python -m fashret.cli.{command}" if inside else f"python {script}"
    return f"fashret-{command.replace('_', '-')}"


def _groups(defaults: Sequence[object]) -> Iterator[tuple[str, str | None]]:
    """The groups of a defaults list with their default options."""
    for entry in defaults:
        if isinstance(entry, dict):
            for name, default in entry.items():
                group = str(name).removeprefix("optional ")
                if group != "hydra":
                    yield group, None if default is None else str(default)


def _options(folders: Sequence[Path], group: str) -> list[str]:
    """The options of a group, in alphabetical order."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def _added_folders(arguments: Sequence[str]) -> list[Path]:
    """The folders that `--config-dir` names."""
    line = " ".join(arguments)
    return [Path(path) for path in re.findall(r"(?:^| )(?:--config-dir|-cd)[= ](\S+)", line)]


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)


def _shown(folder: Path) -> str:
    """The folder as text; its name alone if it is in the current folder."""
    return folder.name + "/" if folder.parent == Path.cwd() else str(folder)
