"""Commands run in-process on the small sample, and what they leave in their folders."""

import json
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from fashret.cli.options import Composed, evaluate_options
from fashret.config import config_dir
from fashret.pipelines.evaluate import evaluated_system
from fashret.pipelines.session import Session
from fashret.pipelines.systems import System

SMALL = ("data.products=48", "data.batch_size=16", "data.num_workers=0", "retrieval.resamples=100")
"""A sample that is drawn in a second."""

QUIET = ("trainer.enable_progress_bar=false", "trainer.enable_model_summary=false")
SCRATCH = ("model.pretrained=null", "model.train=all")
ONE_EPOCH = ("trainer.max_epochs=1",)


def metrics(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((folder / "metrics.json").read_text())["metrics"]
    return found


def lines(folder: Path) -> list[dict[str, Any]]:
    """What a run's train_log.jsonl says, evaluation by evaluation."""
    return [json.loads(line) for line in (folder / "train_log.jsonl").read_text().splitlines()]


def composed(command: str, overrides: list[str]) -> DictConfig:
    """A command's configuration as Hydra would hand it over."""
    GlobalHydra.instance().clear()
    initialize_config_dir(config_dir(), version_base="1.3")
    cfg = compose(command, overrides=overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    OmegaConf.set_struct(cfg, True)
    return cfg


def session_of(command: str, overrides: list[str]) -> Session:
    """The session that a command opens."""
    return Session.open(Composed.checked(composed(command, overrides), command).session())


def system_of(command: str, overrides: list[str]) -> System:
    """The system that a command evaluates or serves."""
    checked = Composed.checked(composed(command, overrides), command)
    return evaluated_system(evaluate_options(checked))


class Run:
    """Runs commands in-process on the small sample, each in a folder of its own."""

    def __init__(self, root: Path, cache_dir: Path) -> None:
        self.root = root
        self.cache_dir = cache_dir

    def at(self, folder: str) -> Path:
        return self.root / folder

    def __call__(
        self, command: str, *overrides: str, folder: str = "run", small: bool = True
    ) -> Path:
        from fashret.cli.build_catalog import build_catalog
        from fashret.cli.evaluate import evaluate
        from fashret.cli.export import export
        from fashret.cli.train import train
        from fashret.cli.view import view

        bodies = {
            "train": train,
            "evaluate": evaluate,
            "build_catalog": build_catalog,
            "export": export,
            "view": view,
        }
        out = self.at(folder)
        given = [f"paths.output_dir={out}", f"paths.cache_dir={self.cache_dir}"]
        if command != "export":
            given.append("device=cpu")
        if small:
            given += SMALL if command in ("train", "evaluate") else SMALL[:3]
        if command in ("train", "evaluate"):
            given.append("latency=false")
        if command == "train":
            given += [*QUIET, "gallery=false", "trainer.accelerator=cpu", "trainer.devices=1"]
        bodies[command](composed(command, [*given, *overrides]))
        return out
