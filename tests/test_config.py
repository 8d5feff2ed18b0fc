"""The configuration: every option composes and is checked, and mistakes are answered."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import composed
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict

from fashret.cli.command import _explain
from fashret.config import build, config_dir
from fashret.errors import ConfigError
from fashret.pipelines.session import check_composed, plain

CONF = Path(config_dir())
ROOT = Path(__file__).parents[1]
NEEDED = {
    "data=folder": ["data.root=photos"],
    "experiment=attribute_aware_photos": ["data.root=photos"],
    "data=hub": ["data.name=some/set"],
    "protocol=marqo": ["protocol.ground_truth=files"],
    "data=joined": ["+data@data.parts.drawn=sample"],
    "experiment=pretrain_tiny": ["data.parts.photos.root=photos"],
}


def options() -> list[str]:
    """Every option of every group, as an override."""
    found = []
    for path in sorted(CONF.rglob("*.yaml")):
        name = path.relative_to(CONF).with_suffix("").as_posix()
        if name.count("/") == 1 and not name.startswith("hydra/"):  # deeper ones are parts
            found.append(name.replace("/", "="))
    return found


def together() -> list[list[str]]:
    """Sets of options, one of each group at a time, in which every option stands at least once.

    An experiment and a debug option choose other groups themselves: each stands alone, and so
    does a protocol, which is of another command; an ablation with the experiment that it is of.
    """
    by_group: dict[str, list[str]] = {}
    alone = []
    for option in options():
        group = option.split("=")[0]
        if group in ("experiment", "debug", "protocol"):
            alone.append([option])
        elif group == "ablation":
            alone.append([option, "experiment=attribute_aware"])
        else:
            by_group.setdefault(group, []).append(option)
    rounds = max(len(found) for found in by_group.values())
    sets = [[found[i % len(found)] for found in by_group.values()] for i in range(rounds)]
    return sets + alone


@pytest.mark.parametrize("chosen", together(), ids=" ".join)
def test_every_option_of_every_group_composes_and_passes_the_check(
    chosen: list[str], cache_dir: Path
) -> None:
    overrides = [*chosen, f"paths.output_dir={cache_dir}"]
    for option in chosen:
        overrides += NEEDED.get(option, [])
        if option == "trainer=gpu":
            overrides.append("trainer.accelerator=cpu")
    judging = chosen[0].startswith("protocol=")
    command = "evaluate" if judging else "train"
    cfg = composed(command, overrides)
    check_composed(cfg, command)
    training = ("loss", "miner", "optimizer", "scheduler")
    for group in ("data", "model", "retrieval", *(["protocol"] if judging else training)):
        build(cfg[group])
    assert plain(cfg)["seed"] == 0


def test_no_option_is_left_out() -> None:
    seen = {option for chosen in together() for option in chosen}
    assert seen == set(options())
    assert len(seen) == 83
    groups = {option.split("=")[0] for option in seen}
    assert groups == {p.name for p in CONF.iterdir() if p.is_dir()} - {"hydra"}


@pytest.mark.parametrize("command", ["evaluate", "build_catalog", "export", "view", "demo"])
def test_the_other_commands_pass_the_check(command: str, cache_dir: Path) -> None:
    needed = ["out=bundle"] if command == "export" else []
    check_composed(composed(command, [*needed, f"paths.output_dir={cache_dir}"]), command)


def test_all_faults_are_reported_at_once_with_the_nearest_name(cache_dir: Path) -> None:
    cfg = composed("train", ["data=folder", f"paths.output_dir={cache_dir}"])
    with open_dict(cfg):
        cfg.loss.temprature = 0.1
        cfg.trainer.max_epoch = 3
        cfg.retrieval.weight_img = 0.5
        cfg.modle = {"pretrained": None}
        cfg.paths.cache = "x"
        cfg.callbacks.mine = {"_target_": "fashret.engine.callbacks.TrainLogg"}
        cfg.logger.evil = {"_target_": "os.system", "command": "true"}
    with pytest.raises(ConfigError) as e:
        check_composed(cfg, "train")
    message = str(e.value)
    for part in (
        "8 faults",
        "data.root is not set",
        "loss.temprature: fashret.losses.InfoNCE has no such argument; did you mean temperature?",
        "trainer.max_epoch: pytorch_lightning.Trainer has no such argument",
        "did you mean max_epochs?",
        "did you mean weight_image?",
        "modle: there is no such key; did you mean model?",
        "paths.cache: there is no such key; did you mean cache_dir?",
        "callbacks.mine._target_: fashret.engine.callbacks.TrainLogg cannot be found",
        "logger.evil._target_: os.system is not allowed; a configuration may name public classes",
    ):
        assert part in message


def test_a_new_callback_is_welcome(cache_dir: Path) -> None:
    cfg = composed("train", [f"paths.output_dir={cache_dir}"])
    with open_dict(cfg):
        cfg.callbacks.lr = {"_target_": "pytorch_lightning.callbacks.LearningRateMonitor"}
    check_composed(cfg, "train")


def test_a_wrong_key_in_an_experiment_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nloss:\n  temprature: 0.1\ntrainr:\n  max_epochs: 1\n"
    )
    done = command("train", f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert done.returncode == 1
    assert "did you mean temperature?" in done.stderr
    assert "trainr: there is no such key; did you mean trainer?" in done.stderr
    assert "Traceback" not in done.stderr


def command(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A root script as a user calls it."""
    return subprocess.run(
        [sys.executable, str(ROOT / f"{name}.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("typo", "answer"),
    [
        ("trainer.max_epoch=3", "did you mean trainer.max_epochs?"),
        ("modle=vitb32", "did you mean model?"),
        ("loss.temprature=0.1", "did you mean loss.temperature?"),
        ("batch_size=4", "did you mean data.batch_size?"),
        ("model=vitb23", "vitb32"),
        ("trainer.max_epochs=[", "trainer.max_epochs"),
    ],
)
def test_a_typo_on_the_command_line_is_one_message(typo: str, answer: str) -> None:
    done = command("train", typo)
    assert done.returncode == 1
    assert answer in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("missing", "plugin", "option"),
    [
        ("hydra/launcher/joblib", "hydra/launcher/processes", "hydra/launcher=processes"),
        ("hydra/launcher/submitit_slurm", "hydra/launcher/slurm", "hydra/launcher=slurm"),
        ("hydra/sweeper/optuna", "hydra/sweeper/search", "hydra/sweeper=search"),
    ],
)
def test_a_plugin_that_is_not_installed_is_named(missing: str, plugin: str, option: str) -> None:
    """As Hydra 1.3 says it where the package is not there."""
    said = HydraException(f"In '{plugin}': Could not load '{missing}'.\n\nConfig search path:\n")
    told = _explain(said, "train")
    assert told.startswith(f"{option} needs another package (")
    assert told.endswith(': pip install "fashret[sweep]"')


def test_adapters_without_their_package_are_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fashret.models.spec.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"lora needs another package \(peft\): pip install"):
        build(composed("train", ["model.train=lora", "paths.output_dir=."]).model)


def test_experiments_and_debug_files_open_with_their_command() -> None:
    for group in ("experiment", "debug"):
        for path in (CONF / group).glob("*.yaml"):
            lines = path.read_text().splitlines()
            assert lines[0] == "# @package _global_"
            assert lines[1].startswith(f"# python train.py {group}={path.stem}")


def test_hydra_interpolations_stand_in_paths_alone() -> None:
    for path in CONF.rglob("*.yaml"):
        if path.parent.name not in ("paths", "hydra"):
            assert "${hydra:" not in path.read_text(), path


def test_the_run_folder_and_cache_are_plain_values(cache_dir: Path) -> None:
    cfg = composed("train", [f"paths.output_dir={cache_dir}"])
    assert OmegaConf.to_container(cfg.paths, resolve=True) == {
        "output_dir": str(cache_dir),
        "cache_dir": str(cache_dir),
    }
