"""The configuration: every option composes and is checked, and mistakes are answered."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict

from fashret.cli.command import explain
from fashret.cli.options import Composed
from fashret.config import build, config_dir, plain
from fashret.config_check import KEYS, RANGES
from fashret.errors import ConfigError
from fashret.names import nearest
from support.commands import composed

CONF = Path(config_dir())
ROOT = Path(__file__).parents[1]
NEEDED = {
    "data=folder": ["data.root=photos"],
    "data=feed": ["data.table=feed.csv"],
    "experiment=attribute_aware_photos": ["data.root=photos"],
    "model=timm": ["model.name=timm:resnet18"],
    "loss=pml": ["loss.name=ContrastiveLoss"],
    "protocol=search_log": ["protocol.judgments=log.csv"],
    "data=hub": ["data.name=some/set"],
    "protocol=marqo": ["protocol.ground_truth=files"],
    "data=joined": ["+data@data.parts.drawn=sample"],
    "experiment=marqo_gcl": ["data.root=photos", "data.judgments=log.csv"],
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


def together(offered: list[str]) -> list[list[str]]:
    """Sets of options, one of each group at a time, in which every option stands at least once.

    An experiment and a debug option choose other groups themselves: each stands alone, and so
    does a protocol, which is of another command; an ablation with the experiment that it is of.
    """
    by_group: dict[str, list[str]] = {}
    alone = []
    for option in offered:
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


@pytest.mark.run
@pytest.mark.parametrize("chosen", together(options()), ids=" ".join)
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
    choices = HydraConfig.get().runtime.choices
    assert {option: choices[option.split("=")[0]] for option in chosen} == {
        option: option.split("=")[1] for option in chosen
    }
    Composed.checked(cfg, command)
    training = ("loss", "miner", "optimizer", "scheduler")
    for group in ("data", "model", "retrieval", *(["protocol"] if judging else training)):
        build(cfg[group])
    assert plain(cfg)["seed"] == 0


def test_no_option_is_left_out() -> None:
    """Hydra lists what a user can choose; the test above chooses all of it."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        groups = set(loader.get_group_options("", results_filter=ObjectType.GROUP)) - {"hydra"}
        offered = {
            f"{group}/{option}"
            for group in groups
            if not group.startswith("hydra")
            for option in loader.get_group_options(group, results_filter=ObjectType.CONFIG)
        }
    seen = {option for chosen in together(options()) for option in chosen}
    assert {option.replace("=", "/") for option in seen} == offered
    assert {option.split("=")[0] for option in seen} >= {"data", "loss", "miner", "model"}
    assert len(seen) == 101


@pytest.mark.parametrize("command", ["evaluate", "build_catalog", "export", "view", "demo"])
def test_the_other_commands_pass_the_check(command: str, cache_dir: Path) -> None:
    needed = ["out=bundle"] if command == "export" else []
    Composed.checked(composed(command, [*needed, f"paths.output_dir={cache_dir}"]), command)


def options_of(command: str) -> list[str]:
    """Every option of every group that a command has, as an override."""
    listed = OmegaConf.load(CONF / f"{command}.yaml").defaults
    groups = [str(name).removeprefix("optional ") for entry in listed if entry != "_self_"
              for name in entry]  # fmt: skip
    return [
        f"{group}={path.stem}"
        for group in groups
        if group != "hydra"
        for path in sorted((CONF / group).glob("*.yaml"))
    ]


@pytest.mark.run
@pytest.mark.parametrize(
    ("command", "count"),
    [("evaluate", 46), ("build_catalog", 32), ("export", 10), ("view", 27), ("demo", 28)],
)
def test_every_option_composes_for_the_other_commands_that_have_its_group(
    command: str, count: int, cache_dir: Path
) -> None:
    offered = options_of(command)
    for chosen in together(offered):
        overrides = [*chosen, f"paths.output_dir={cache_dir}"]
        overrides += [value for option in chosen for value in NEEDED.get(option, [])]
        if command == "export":
            overrides.append("out=bundle")
        Composed.checked(composed(command, overrides), command)
    assert len(offered) == count


def test_the_training_command_has_every_option_but_protocols() -> None:
    """So that the test of all options composes each of them for this command."""
    protocols = {option for option in options() if option.startswith("protocol=")}
    assert set(options_of("train")) == set(options()) - protocols


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data=base/default", r"^data\._target_ is missing: the chosen data is a part of other"),
        ("data=base/columns", r"data\._target_ is missing: .* data=<option> \(--help lists them"),
        ("model=base/default", "model.name is not set: model.name=<value>"),
        ("~miner", r"^miner is not set: choose an option, miner=<option>"),
    ],
)
def test_a_group_that_makes_nothing_is_named(override: str, message: str, cache_dir: Path) -> None:
    cfg = composed("train", [override, f"paths.output_dir={cache_dir}"])
    with pytest.raises(ConfigError, match=message):
        Composed.checked(cfg, "train")


FAULTS = {
    "data.batch_size=abc": "data.batch_size=abc: must be an integer (see docs/data.md)",
    "data.num_workers=1.5": "data.num_workers=1.5: must be an integer or null (see docs/data.md)",
    "data.augment.flip=often": "data.augment.flip=often: must be a number (see docs/data.md)",
    "data.captions=5": "data.captions=5: must be a mapping with a _target_ or null (see docs/",
    "data.stated_splits=5": "data.stated_splits=5: must be true or false (see docs/data.md)",
    "optimizer.lr=fast": "optimizer.lr=fast: must be a number (see docs/configuration.md)",
    "optimizer.weight_decay=-1": "optimizer.weight_decay=-1: must be >= 0 (see docs/config",
    "optimizer.betas=[0.9]": "optimizer.betas=[0.9]: must be a list of 2 values, each a number",
    "trainer.max_epochs=ten": "trainer.max_epochs=ten: must be an integer or null (see docs/",
    "trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches=0: must be >= 1",
    "scheduler.warmup=2": "scheduler.warmup=2: must be from 0 to 1 (see docs/configuration.md)",
    "retrieval.k=[a]": "retrieval.k=[a]: must be a list of integers (see docs/metrics.md)",
    "loss.temperature=true": "loss.temperature=true: must be a number (see docs/attributes.md)",
    "model.lora_rank=1.5": "model.lora_rank=1.5: must be an integer (see docs/models.md)",
    "callbacks.dashboard.queries=many": "callbacks.dashboard.queries=many: must be an integer",
    "catalog.dtype=float8": "catalog.dtype=float8: must be float32 or float16 (see docs/",
    "gather=maybe": "gather=maybe: must be true or false (see docs/configuration.md)",
    "seed=true": "seed=true: must be an integer (see docs/configuration.md)",
}
"""Overrides, and what is said of them."""


def test_values_of_a_wrong_type_or_range_are_reported_at_once(cache_dir: Path) -> None:
    cfg = composed("train", [*FAULTS, f"paths.output_dir={cache_dir}"])
    with pytest.raises(ConfigError) as e:
        Composed.checked(cfg, "train")
    lines = str(e.value).splitlines()
    assert lines[0] == f"the configuration has {len(FAULTS)} faults:"
    for override, message in FAULTS.items():
        told = [line for line in lines if line.startswith(f"  - {override}: ")]
        assert len(told) == 1, (override, str(e.value))
        assert message in told[0]


def test_one_fault_is_one_line(cache_dir: Path) -> None:
    cfg = composed("train", ["optimizer.lr=fast", f"paths.output_dir={cache_dir}"])
    with pytest.raises(ConfigError) as e:
        Composed.checked(cfg, "train")
    assert str(e.value) == FAULTS["optimizer.lr=fast"]


def test_what_a_class_says_of_its_arguments_is_told_with_the_rest(cache_dir: Path) -> None:
    wrong = ["data.batch_size=0", "model.train=bogus", "retrieval.exclude=x", "optimizer.lr=fast"]
    cfg = composed("train", [*wrong, f"paths.output_dir={cache_dir}"])
    with pytest.raises(ConfigError) as e:
        Composed.checked(cfg, "train")
    message = str(e.value)
    assert message.startswith("the configuration has 4 faults:")
    for part in ("data.batch_size", "model.train=bogus", "retrieval.exclude=x", "optimizer.lr"):
        assert part in message


@pytest.mark.parametrize(
    "override",
    ["optimizer.lr=1", "trainer.devices=[0,1]", "trainer.devices='2'",
     "trainer.max_time=00:01:00:00", "trainer.limit_train_batches=3", "data.name=10",
     "monitor=null", "data.num_workers=null", "trainer.precision=32", "data.overrides=fixes.csv",
     "+trainer.benchmark=true", "scheduler.warmup=0", "trainer.max_epochs=-1"],
)  # fmt: skip
def test_a_value_that_a_class_takes_passes(override: str, cache_dir: Path) -> None:
    cfg = composed("train", [override, f"paths.output_dir={cache_dir}"])
    Composed.checked(cfg, "train")


def test_every_key_of_the_top_level_has_a_type() -> None:
    seen = set()
    for path in CONF.glob("*.yaml"):
        read = OmegaConf.to_container(OmegaConf.load(path))
        # Objects are checked by the signatures of their classes.
        seen |= {key for key in read if key not in ("defaults", "view", "compress")}  # type: ignore[union-attr]
    for group in ("catalog", "paths"):
        held = OmegaConf.to_container(OmegaConf.load(CONF / group / "default.yaml"), resolve=False)
        seen |= {f"{group}.{key}" for key in held}  # type: ignore[union-attr]
    assert seen == set(KEYS)
    assert len(seen) == 29


def test_every_key_with_a_range_exists() -> None:
    """A key that is spelt wrong here would be checked nowhere."""
    known = set()
    for name, more in {
        "train": ["optimizer=layerwise", "callbacks=early_stopping", "+trainer.num_nodes=1"],
        "demo": [],
    }.items():
        cfg = composed(name, [*more, "paths.output_dir=."])
        known |= {key for key in RANGES if OmegaConf.select(cfg, key) is not None}
    assert known == set(RANGES)


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("max_epoch", ["devices", "max_epochs"], "did you mean max_epochs? (1 more)"),
        ("max_epoch", ["max_epochs"], "did you mean max_epochs?"),
        ("ab", ["x", "ab1", "ab12"], "did you mean ab1? (also near: ab12; 1 more)"),
        ("zz", list("abcdefghij"), "there are a, b, c, d, e, f, g, h and 2 more"),
        ("zz", list("hgfedcba"), "there are a, b, c, d, e, f, g, h"),
        ("zz", [], "there are none"),
    ],
)
def test_a_hint_names_eight_at_most_the_nearest_first(
    name: str, known: list[str], hint: str
) -> None:
    assert nearest(name, known) == hint


def test_a_wrong_argument_of_the_trainer_is_answered_in_a_line(cache_dir: Path) -> None:
    cfg = composed("train", ["+trainer.zzzzzz=3", f"paths.output_dir={cache_dir}"])
    with pytest.raises(ConfigError) as e:
        Composed.checked(cfg, "train")
    names = re.fullmatch(
        r"trainer\.zzzzzz: pytorch_lightning\.Trainer has no such argument; there are "
        r"((?:\w+, ){7}\w+) and (\d+) more",
        str(e.value),
    )
    assert names is not None, str(e.value)
    assert int(names[2]) > 30


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
        Composed.checked(cfg, "train")
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
    Composed.checked(cfg, "train")


@pytest.mark.run
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


@pytest.mark.run
@pytest.mark.parametrize(
    ("typo", "answer"),
    [
        ("trainer.max_epoch=3", "did you mean trainer.max_epochs?"),
        ("modle=vitb32", "did you mean model?"),
        ("loss.temprature=0.1", "did you mean loss.temperature?"),
        ("batch_size=4", "did you mean data.batch_size?"),
        ("model=vitb23", "model=vitb23: there is no such option; did you mean vitb32? (also near"),
        (
            "data=default",
            "data=default: default is a base that options share, not an option; choose",
        ),
        ("miner=null", "miner=null: a group needs one of its options (--help lists them)"),
        ("trainer.zzz=3", "trainer.zzz: there is no such key; trainer: there are "),
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
    told = explain(said, "train")
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
