"""Every command in the README and in docs/ is one that the commands accept."""

import re
import shlex
from pathlib import Path

import pytest
from conftest import composed
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob

from fashret.cli.setup import check_composed

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ARGUMENT = r"""(?:'[^']*'|-[\w-]+|job|[\w.@+/~]+=(?:<[^>]*>|"[^"]*"|'[^']*'|[^\s`<"'|])+)"""
COMMAND = re.compile(
    r"(?:python (train|evaluate|build_catalog)\.py"
    r"|fashret-(train|evaluate|build-catalog|export|view|demo))"
    rf"((?: +{ARGUMENT})*)"
)


def commands() -> list[tuple[str, str, str]]:
    """Page, command and arguments of every command line."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for first, second, arguments in COMMAND.findall(text):
            found.append(
                (page.name, (first or second).replace("-", "_"), arguments.strip().rstrip(":,"))
            )
    return found


def test_the_documentation_has_commands() -> None:
    assert len(commands()) > 12


@pytest.mark.parametrize(("page", "command", "arguments"), commands())
def test_a_documented_command_is_accepted(
    page: str, command: str, arguments: str, cache_dir: Path
) -> None:
    named = re.sub(r"<([^>]*)>", lambda m: re.sub(r"\W", "_", m[1]), arguments)
    given = [a for a in shlex.split(named) if a not in ("-m", "--help", "--cfg", "job")]
    parsed = OverridesParser.create().parse_overrides(given)
    overrides = []
    for override in parsed:
        if isinstance(override.value(), Glob):
            folder = ROOT / "conf" / str(override.key_or_group)
            overrides += [f"{folder.name}={option.stem}" for option in sorted(folder.iterdir())][
                -1:
            ]
        elif override.is_sweep_override():
            values = list(override.sweep_string_iterator())
            overrides += [f"{override.key_or_group}={value}" for value in values[-1:]]
        else:
            overrides.append(str(override.input_line))
    overrides = [o for o in overrides if o != "experiment=mine"]  # the reader's own
    cfg = composed(command, [*overrides, f"paths.output_dir={cache_dir}"])
    check_composed(cfg, command)
