"""What a configuration may instantiate: files from somebody else run nothing."""

import importlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run, composed
from hydra.utils import instantiate
from omegaconf import OmegaConf

from fashret.allowlist import LIBRARIES, allowed_target
from fashret.cli.demo import demo
from fashret.cli.resumed_overrides import with_resumed
from fashret.cli.train import train
from fashret.config import build
from fashret.errors import CheckpointError, ConfigError
from fashret.pipelines.session import check_composed, plain

ROOT = Path(__file__).parents[1]


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that comes to be where something was executed; beside it what would make it."""
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "executed")))
    bomb = np.array([Bomb(tmp_path / "executed")], dtype=object)
    np.save(tmp_path / "bomb.npy", bomb, allow_pickle=True)
    torch.save(Bomb(tmp_path / "executed"), tmp_path / "bomb.pt")
    return tmp_path / "executed"


HOSTILE: dict[str, dict[str, Any]] = {
    "psutil.Popen": {"args": ["touch", "{folder}/executed"]},
    "pandas.read_pickle": {"filepath_or_buffer": "{folder}/bomb.pkl"},
    "numpy.load": {"file": "{folder}/bomb.npy", "allow_pickle": True},
    "torch.load": {"f": "{folder}/bomb.pt", "weights_only": False},
    "joblib.load": {"filename": "{folder}/bomb.pkl"},
    # the same functions, by way of modules that fashret, Lightning and torch import
    "fashret.data.items.np.load": {"file": "{folder}/bomb.npy", "allow_pickle": True},
    "torch.optim.adam.torch.load": {"f": "{folder}/bomb.pt", "weights_only": False},
    "pytorch_lightning.callbacks.model_checkpoint.torch.load": {
        "f": "{folder}/bomb.pt",
        "weights_only": False,
    },
}
"""Targets that run code, and the arguments with which they do."""


def hostile(target: str, folder: Path) -> dict[str, Any]:
    """A node that makes `executed` in the folder."""

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(part) for part in value]
        return value.replace("{folder}", str(folder)) if isinstance(value, str) else value

    return {"_target_": target} | {name: filled(value) for name, value in HOSTILE[target].items()}


def placed(node: dict[str, Any], place: str) -> Any:
    """A value that has a node in it."""
    return {"itself": node, "mapping": {"a": {"b": node}}, "list": [1, [{"a": node}]]}[place]


PATHS = {"itself": "", "mapping": ".a.b", "list": "[1][0].a"}


@pytest.mark.parametrize("target", HOSTILE)
def test_the_hostile_nodes_run_code_where_nothing_stops_them(target: str, marker: Path) -> None:
    made = instantiate(hostile(target, marker.parent))
    if target == "psutil.Popen":
        made.wait()
    assert marker.exists()


@pytest.mark.parametrize("place", PATHS)
@pytest.mark.parametrize("target", HOSTILE)
def test_build_makes_nothing_that_is_not_allowed(target: str, place: str, marker: Path) -> None:
    node = {
        "_target_": "fashret.losses.Triplet",
        "margin": placed(hostile(target, marker.parent), place),
    }
    cfg = OmegaConf.create({"loss": node})
    with pytest.raises(ConfigError) as e:
        build(cfg.loss)
    assert f"loss.margin{PATHS[place]}._target_: {target} " in str(e.value)
    assert not marker.exists()


def test_interpolations_do_not_hide_a_target(marker: Path) -> None:
    evil = f"{{_target_: psutil.Popen, args: [touch, '{marker}']}}"
    hidden = {
        "by another key": {"_target_": "${name}", "args": ["touch", str(marker)]},
        "by another node": "${node}",
        "by a resolver": f"${{oc.create:{evil}}}",
        "by a resolver that is escaped": f"\\${{oc.create:{evil}}}",
    }
    for how, value in hidden.items():
        cfg = OmegaConf.create(
            {
                "name": "psutil.Popen",
                "node": hostile("psutil.Popen", marker.parent),
                "loss": {"_target_": "fashret.losses.Triplet", "margin": value},
            }
        )
        with pytest.raises(ConfigError, match=r"loss\.margin") as e:
            build(cfg.loss)
        assert "psutil.Popen" in str(e.value), how
        assert not marker.exists(), how
    assert len(hidden) == 4


@pytest.mark.parametrize(
    "target",
    [
        "fashret.losses.InfoNCE",
        "fashret.losses.infonce.InfoNCE",
        "fashret.engine.schedules.warmup_cosine",
        "pytorch_lightning.Trainer",
        "pytorch_lightning.callbacks.EarlyStopping",
        "pytorch_lightning.plugins.environments.SLURMEnvironment",
        "torch.optim.SGD",
        "torch.optim.lr_scheduler.StepLR",
        "torchmetrics.retrieval.RetrievalMAP",
    ],
)
def test_public_classes_are_allowed(target: str) -> None:
    found = allowed_target(target)
    assert found.__name__ == target.rpartition(".")[2]


@pytest.mark.parametrize(
    "target",
    [
        "fashret.config.importlib.import_module",  # what a module of fashret imports
        "fashret.cli.command.subprocess.Popen",
        "fashret.cli.command.as_a_command",  # the commands
        "fashret.data.photos.Path",
        "fashret.loading.batches.ItemTable",  # a class of fashret, by a module that only imports it
        "fashret.data.preparation.prepare",  # a function
        "fashret.engine.schedules.LambdaLR",  # there only functions of its own
        "fashret.models.backbone._Cut",
        "pytorch_lightning.cli.LightningCLI",
        "pytorch_lightning.seed_everything",
        "pytorch_lightning.LightningModule.load_from_checkpoint",
        "pytorch_lightning.utilities.parsing.pickle.loads",
        "torch.optim.lr_scheduler.partial",
        "torch.optim.swa_utils.update_bn",
        "torchmetrics.aggregation.Tensor",
        "torchmetrics.text.BERTScore",  # reads models of others
        "subprocess.Popen",
        "os.system",
        "builtins.eval",
        "eval",
        "fashret",
        "fashret..losses.InfoNCE",
        ["fashret.losses.InfoNCE"],
        None,
    ],
    ids=str,
)
def test_anything_else_is_refused(target: object) -> None:
    with pytest.raises(ConfigError, match=r"is not allowed|is not the dotted path|cannot be found"):
        allowed_target(target)


def test_every_public_module_of_a_library_is_there() -> None:
    """A misspelt module would be in the list for nothing."""
    for module in LIBRARIES:
        names = vars(importlib.import_module(module))
        found = 0
        for name in names:
            try:
                allowed_target(f"{module}.{name}")
            except ConfigError:
                continue
            found += 1
        assert found >= 3, module
    assert len(LIBRARIES) == 18


def test_extensions_are_those_that_the_user_names(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_allowed.py").write_text(
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\nclass Loss: pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"mine_allowed.Loss is not allowed; .*FASHRET_EXTENSIONS"
    ):
        allowed_target("mine_allowed.Loss")
    assert not marker.exists()  # it was not even imported
    monkeypatch.setenv("FASHRET_EXTENSIONS", "other, mine_allowed")
    assert allowed_target("mine_allowed.Loss").__name__ == "Loss"
    assert marker.exists()
    with pytest.raises(ConfigError, match=r"mine_allowed.Path is not allowed: it is not a public"):
        allowed_target("mine_allowed.Path")
    with pytest.raises(ConfigError, match=r"mine_allowed_too.Loss is not allowed"):
        allowed_target("mine_allowed_too.Loss")


def test_a_list_of_an_experiment_file_is_checked(
    tmp_path: Path, marker: Path, cache_dir: Path
) -> None:
    (tmp_path / "experiment").mkdir()
    nodes = {"trainer": {"plugins": [hostile("psutil.Popen", tmp_path)]}}
    text = "# @package _global_\n" + OmegaConf.to_yaml(OmegaConf.create(nodes))
    (tmp_path / "experiment" / "evil.yaml").write_text(text)
    where = [f"hydra.searchpath=[file://{tmp_path}]", f"paths.output_dir={cache_dir}"]
    cfg = composed("train", [*where, "experiment=evil"])
    with pytest.raises(
        ConfigError, match=r"1 fault.*\n.*trainer.plugins\[0\]._target_: psutil.Pop"
    ):
        check_composed(cfg, "train")
    with pytest.raises(ConfigError, match=r"trainer.plugins\[0\]._target_: psutil.Popen is not"):
        train(cfg)
    with pytest.raises(ConfigError, match=r"trainer.plugins\[0\]._target_: psutil.Popen is not"):
        build(cfg.trainer)
    assert not marker.exists()


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
    with pytest.raises(CheckpointError, match=r"model.attribute_blocks.neckline holds an interpol"):
        use(run, "evaluate", folder)
    assert not marker.exists()


def test_groups_of_a_checkpoint_that_are_not_options_are_refused(run: Run, tmp_path: Path) -> None:
    folder = stranger(tmp_path / "odd", model="psutil.Popen")
    with pytest.raises(CheckpointError, match=r"model is not a group of options"):
        use(run, "evaluate", folder)


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
        with_resumed([f"resume={folder}"])
    assert f"{override}: the overrides of a resumed run may not touch hydra.*" in str(e.value)
    assert "seed" not in str(e.value)


@pytest.mark.parametrize("flag", ["--config-dir=/evil", "-m", "--multirun", "a b"])
def test_a_resumed_folder_gives_no_flags(flag: str, tmp_path: Path) -> None:
    folder = resumable(tmp_path / "evil", flag)
    with pytest.raises(CheckpointError, match=f"{flag} is not an override"):
        with_resumed([f"resume={folder}"])


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
        with_resumed([f"resume={folder}"])
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
        with_resumed([f"resume={folder}"])
    again = override.lstrip("+")  # what the user gives is the user's
    assert with_resumed([f"resume={folder}", again])[:3] == [override, f"resume={folder}", again]


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
    assert with_resumed([f"resume={folder}", "seed=2"]) == [
        *ordinary,
        f"resume={folder}",
        "seed=2",
        f"hydra.run.dir={folder}",
    ]


@pytest.mark.parametrize(
    "override", [f"+hydra.callbacks.evil={CALL}", f"+trainer.plugins=[{CALL}]"]
)
def test_the_command_refuses_a_hostile_folder_with_one_message(override: str, marker: Path) -> None:
    folder = resumable(marker.parent / "evil", override.replace("MARKER", str(marker)))
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), f"resume={folder}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: resume={folder}: ")
    assert "psutil.Popen" in done.stderr
    assert "Traceback" not in done.stderr
    assert not marker.exists()
