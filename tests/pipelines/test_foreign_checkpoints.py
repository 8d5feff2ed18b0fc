"""Checkpoints from somebody else run nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fashret.cli.demo import demo
from fashret.config import plain
from fashret.errors import CheckpointError
from support.commands import Run, composed
from support.hostile import HOSTILE, PATHS, hostile, placed


def stranger(folder: Path, **changes: Any) -> Path:
    """A run folder whose checkpoint has a configuration with some keys of the model changed."""
    config = plain(composed("train", ["paths.output_dir=none"]))
    if "model" in changes:
        config["model"] = changes["model"]
    else:
        config["model"] |= changes
    (folder / "checkpoints").mkdir(parents=True)
    held = {"hyper_parameters": {"config": config}, "state_dict": {}}
    torch.save(held, folder / "checkpoints" / "last.ckpt")
    return folder


def use(run: Run, command: str, folder: Path) -> None:
    """A command with a stranger's run."""
    if command == "baseline":
        run("evaluate", f"baseline={folder}")
    elif command == "export":
        run("export", f"run={folder}", f"out={run.at('bundle')}", small=False)
    elif command == "demo":
        here = [f"paths.cache_dir={run.cache_dir}", f"paths.output_dir={run.at('run')}"]
        demo(composed("demo", [f"run={folder}", *here, "device=cpu", "port=0"]))
    else:
        run(command, f"run={folder}", small=False)


@pytest.mark.parametrize("place", PATHS)
@pytest.mark.parametrize("command", ["evaluate", "baseline", "export", "build_catalog", "demo"])
def test_a_checkpoint_of_somebody_else_runs_nothing(
    command: str, place: str, run: Run, marker: Path
) -> None:
    node = hostile("psutil.Popen", marker.parent)
    folder = stranger(marker.parent / "evil", attribute_blocks=placed(node, place))
    with pytest.raises(CheckpointError) as e:
        use(run, command, folder)
    key = f"model.attribute_blocks{PATHS[place]}._target_"
    assert f"{key}: psutil.Popen is not allowed" in str(e.value)
    assert str(folder) in str(e.value)
    assert not marker.exists()


@pytest.mark.parametrize("target", HOSTILE)
def test_a_checkpoint_whose_model_is_a_function_call_is_refused(
    target: str, run: Run, marker: Path
) -> None:
    folder = stranger(marker.parent / "evil", model=hostile(target, marker.parent))
    for command in ("evaluate", "export"):
        with pytest.raises(CheckpointError, match=rf"model\._target_: {target} "):
            use(run, command, folder)
    assert not marker.exists()


def test_a_checkpoint_is_not_interpolated(run: Run, marker: Path) -> None:
    evil = f"${{oc.create:{{_target_: psutil.Popen, args: [touch, '{marker}']}}}}"
    folder = stranger(marker.parent / "evil", attribute_blocks={"neckline": evil})
    with pytest.raises(CheckpointError, match=r"model.attribute_blocks.neckline is an interpol"):
        use(run, "evaluate", folder)
    assert not marker.exists()


def test_groups_of_a_checkpoint_that_are_not_options_are_refused(run: Run, tmp_path: Path) -> None:
    folder = stranger(tmp_path / "odd", model="psutil.Popen")
    with pytest.raises(CheckpointError, match=r"model is not a group of options"):
        use(run, "evaluate", folder)
