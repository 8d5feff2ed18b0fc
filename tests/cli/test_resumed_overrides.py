"""What the overrides of a resumed folder may say."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fashret.cli.resumed_overrides import with_resumed_overrides
from fashret.errors import CheckpointError
from support.forked import forked
from support.project import ROOT


def resumable(folder: Path, *overrides: str) -> Path:
    """A run folder with these overrides."""
    for name in (".hydra", "checkpoints"):
        (folder / name).mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    OmegaConf.save(OmegaConf.create(list(overrides)), folder / ".hydra" / "overrides.yaml")
    return folder


CALL = "{_target_: psutil.Popen, args: [touch, 'MARKER']}"


@pytest.mark.parametrize(
    "override",
    [
        f"+hydra.callbacks.evil={CALL}",
        f"++hydra.callbacks.evil={CALL}",
        f"hydra.callbacks.evil={CALL}",
        f"hydra={{callbacks: {{evil: {CALL}}}}}",
        "~hydra.callbacks",
        "hydra.searchpath=[file:///evil]",
        "hydra.job_logging.handlers.evil={class: psutil.Popen}",
        "hydra/launcher=joblib",
        "+hydra/job_logging=stdout",
        "hydra@_global_=default",
        "+callbacks@hydra.callbacks=default",
    ],
)
def test_resumed_overrides_do_not_touch_hydra(override: str, marker: Path) -> None:
    override = override.replace("MARKER", str(marker))
    folder = resumable(marker.parent / "evil", "seed=1", override)
    with pytest.raises(CheckpointError) as e:
        with_resumed_overrides([f"resume={folder}"])
    assert f"{override}: the overrides of a resumed run may not touch hydra.*" in str(e.value)
    assert "seed" not in str(e.value)


@pytest.mark.parametrize("flag", ["--config-dir=/evil", "-m", "--multirun", "a b"])
def test_a_resumed_folder_gives_no_flags(flag: str, tmp_path: Path) -> None:
    folder = resumable(tmp_path / "evil", flag)
    with pytest.raises(CheckpointError, match=f"{flag} is not an override"):
        with_resumed_overrides([f"resume={folder}"])


@pytest.mark.parametrize(
    ("override", "key"),
    [
        (f"+trainer.plugins=[{CALL}]", "trainer.plugins[0]"),
        (f"+callbacks.evil={CALL}", "callbacks.evil"),
        (f"loss={{terms: {{a: [[{CALL}]]}}}}", "loss.terms.a[0][0]"),
        ("+logger.evil._target_=psutil.Popen", "logger.evil"),
    ],
)
def test_resumed_overrides_name_only_what_is_allowed(
    override: str, key: str, marker: Path, cache_dir: Path
) -> None:
    override = override.replace("MARKER", str(marker))
    folder = resumable(marker.parent / "evil", override)
    with pytest.raises(CheckpointError) as e:
        with_resumed_overrides([f"resume={folder}"])
    assert f"{key}._target_: psutil.Popen is not allowed" in str(e.value)
    assert not marker.exists()


OUTSIDE = [
    "callbacks.train_log.path=/elsewhere/.bashrc",
    "callbacks.train_log.path='~/.bashrc'",
    "callbacks.train_log.path=setup.py",
    "callbacks.train_log.path='${oc.env:HOME}/.bashrc'",
    "callbacks.train_log.path='${paths.output_dir}/../../.bashrc'",
    "+callbacks.evil={_target_: fashret.engine.callbacks.TrainLog, path: /elsewhere/x}",
    "callbacks.last_checkpoint.filename=../../x",
    "paths.output_dir=/elsewhere",
    "logger.tensorboard.save_dir=/elsewhere",
    "+trainer.profiler={_target_: pytorch_lightning.profilers.AdvancedProfiler, dirpath: /x}",
]


@pytest.mark.parametrize("override", OUTSIDE)
def test_resumed_overrides_write_in_the_run_folder_alone(override: str, tmp_path: Path) -> None:
    folder = resumable(tmp_path / "evil", override)
    with pytest.raises(CheckpointError, match="would write outside of the run folder"):
        with_resumed_overrides([f"resume={folder}"])
    again = override.lstrip("+")  # what the user gives is the user's
    assert with_resumed_overrides([f"resume={folder}", again])[:3] == [
        override,
        f"resume={folder}",
        again,
    ]


def test_ordinary_overrides_are_resumed(tmp_path: Path) -> None:
    ordinary = [
        "model.train=all",
        "trainer.max_epochs=3",
        "data=folder",
        "data.root=/photos",
        "paths.cache_dir=/data/cache",
        "+callbacks.lr={_target_: pytorch_lightning.callbacks.LearningRateMonitor}",
        "callbacks.train_log.path='${paths.output_dir}/log.jsonl'",
        "callbacks.best_checkpoint.monitor='${monitor}'",
        "optimizer.betas=[0.9,0.95]",
        "~callbacks.watchdog",
    ]
    folder = resumable(tmp_path / "run", *ordinary)
    assert with_resumed_overrides([f"resume={folder}", "seed=2"]) == [
        *ordinary,
        f"resume={folder}",
        "seed=2",
        f"hydra.run.dir={folder}",
    ]


@pytest.mark.run
@pytest.mark.parametrize(
    "override", [f"+hydra.callbacks.evil={CALL}", f"+trainer.plugins=[{CALL}]"]
)
def test_the_command_refuses_a_hostile_folder_with_one_message(override: str, marker: Path) -> None:
    folder = resumable(marker.parent / "evil", override.replace("MARKER", str(marker)))
    done = forked(["train.py", f"resume={folder}"], ROOT, {})
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: resume={folder}: ")
    assert "psutil.Popen" in done.stderr
    assert "Traceback" not in done.stderr
    assert not marker.exists()
