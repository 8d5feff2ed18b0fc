"""`--help`: two screens, at once, and nothing in it that does not work."""

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fashret.cli.help import EXAMPLES, PURPOSE, help_text
from fashret.cli.options import Composed
from fashret.config import config_dir
from support.commands import composed
from support.terminal import ROOT, output

COMMANDS = ("train", "evaluate", "build_catalog", "demo", "export", "view")
CALLS = {
    "train": "python train.py",
    "evaluate": "python evaluate.py",
    "build_catalog": "python build_catalog.py",
    "demo": "python -m fashret.cli.demo",
    "export": "python -m fashret.cli.export",
    "view": "python -m fashret.cli.view",
}


def test_every_command_has_help() -> None:
    composing = {path.stem for path in Path(config_dir()).glob("*.yaml")}
    assert composing == set(COMMANDS) == set(PURPOSE) == set(EXAMPLES) == set(CALLS)


@pytest.mark.run
@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_two_screens(command: str, flag: str) -> None:
    call = CALLS[command]
    began = time.monotonic()
    status, text = output([*call.split()[1:], flag], None)
    assert time.monotonic() - began < 10  # two seconds on a machine that does nothing else
    lines = text.splitlines()
    assert status == 0
    assert lines[0] == f"usage: {call} [group=option ...] [key=value ...]"
    assert PURPOSE[command] in lines
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith(f"  {call} ") for line in lines) == 5
    assert "Read on: docs/" in text


def test_help_names_every_option_and_marks_the_default() -> None:
    told = help_text("train", program="train.py")
    stated = re.search(r"^data:\s+(.*?)^\w", told, re.M | re.S)
    assert stated is not None
    names = re.sub(r"\s+", " ", stated[1]).strip().split(", ")
    assert len(names) == 16
    assert {"folder", "hub", "sample*"} <= set(names)
    assert not {"default", "columns", "groups", "schema"} & set(names)
    seen = 0
    for folder in Path(config_dir()).iterdir():
        if folder.is_dir() and folder.name not in ("hydra", "protocol"):
            for option in folder.glob("*.yaml"):
                seen += 1
                assert re.search(rf"(?<!\w){option.stem}(?!\w)", told), f"{folder.name}/{option}"
    assert seen > 60


def test_help_lists_the_options_of_a_folder_of_ones_own() -> None:
    asked = ["--config-dir", str(ROOT / "examples" / "conf"), "--help"]
    assert "product_folders" in help_text("train", arguments=asked)
    assert "product_folders" not in help_text("train")


def test_an_installed_command_is_called_by_its_name() -> None:
    told = help_text("build_catalog", program="/usr/bin/fashret-build-catalog")
    assert told.startswith("usage: fashret-build-catalog [")
    assert "\n  fashret-build-catalog model=vitb32\n" in told


def test_help_imports_neither_torch_nor_what_checks_values() -> None:
    code = (
        "import sys; sys.argv = ['train.py', '--help']; from fashret.cli.train import main; "
        "main(); print([m for m in ('torch', 'pydantic', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("command", "example"), [(name, line) for name in COMMANDS for line in EXAMPLES[name]]
)
def test_an_example_of_the_help_is_accepted(command: str, example: str, cache_dir: Path) -> None:
    given = [word for word in shlex.split(re.sub(r"[<>]", "", example)) if word != "-m"]
    overrides = []
    for override in OverridesParser.create().parse_overrides(given):
        if override.is_sweep_override():
            values = list(override.sweep_string_iterator())
            overrides.append(f"{override.key_or_group}={values[-1]}")
        else:
            overrides.append(str(override.input_line))
    assert overrides
    Composed.checked(composed(command, [*overrides, f"paths.output_dir={cache_dir}"]), command)


def test_the_whole_configuration_is_a_flag_away() -> None:
    status, text = output(["train.py", "--cfg", "job"], None)
    assert status == 0
    assert len(text.splitlines()) > 150
    assert "schema: first_edition" in text
    assert "red tape" not in text  # the words are a file
