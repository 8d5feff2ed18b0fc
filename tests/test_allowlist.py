"""What a configuration may instantiate: files from somebody else run nothing."""

import importlib
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from fashret.allowlist import LIBRARIES, allowed_target
from fashret.cli.options import Composed
from fashret.cli.train import train
from fashret.config import build
from fashret.errors import ConfigError
from support.commands import composed
from support.hostile import HOSTILE, PATHS, hostile, placed


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
        "fashret.cli.command.run_in_subprocess",  # the commands
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
    with pytest.raises(ConfigError, match=r"^trainer.plugins\[0\]._target_: psutil.Popen is not"):
        Composed.checked(cfg, "train")
    with pytest.raises(ConfigError, match=r"trainer.plugins\[0\]._target_: psutil.Popen is not"):
        train(cfg)
    with pytest.raises(ConfigError, match=r"trainer.plugins\[0\]._target_: psutil.Popen is not"):
        build(cfg.trainer)
    assert not marker.exists()
