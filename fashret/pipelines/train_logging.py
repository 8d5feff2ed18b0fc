"""Log a training run's evaluations, final results and hyperparameters."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from fashret.engine.callbacks import EpochLines, TrainLog
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.head_weights import WeightCurve
from fashret.pipelines.publish import Published, write_tensorboard
from fashret.pipelines.systems import System


def log_evaluations(
    trainer: pl.Trainer, evaluations: Sequence[Evaluation], *, to_train_log: bool
) -> None:
    """Write the metrics of evaluations to the loggers, at the trainer's step.

    Args:
        trainer: the trainer with its loggers and callbacks.
        evaluations: one per split.
        to_train_log: whether they are the baseline's, which is epoch 0 of train_log.jsonl.
    """
    for evaluation in evaluations:
        means = evaluation.means()
        known = {key: value for key, value in means.items() if not math.isnan(value)}
        for logger in trainer.loggers:
            logger.log_metrics(known, step=trainer.global_step)
        first = to_train_log and trainer.is_global_zero
        if first and evaluation.plan.split == "validation":
            for callback in trainer.callbacks:  # type: ignore[attr-defined]  # not in its type
                if isinstance(callback, TrainLog) and callback.is_empty:
                    callback.write(means, epoch=0, step=0)
                if isinstance(callback, EpochLines):
                    callback.baseline = known.get(callback.monitor)


def log_result(
    trainer: pl.Trainer,
    config: Mapping[str, Any],
    system: System,
    published: Published,
    curves: Sequence[WeightCurve],
) -> None:
    """Write the final scoreboard, some items and the attribute heads' curves to TensorBoard.

    The hyperparameters and the final values, `final/<metric>`, are a row of the tab HParams.

    Args:
        trainer: the trainer with its loggers.
        config: the run's configuration as plain containers.
        system: the trained system.
        published: its results.
        curves: the metrics over a range of weights of each attribute head.
    """
    board = published.scoreboard
    rows = (*board.targets, *board.headlines)
    final = {f"final/{row.name}": row.value for row in rows if row.value is not None}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(hyperparameters(config), final)
            step, table = trainer.global_step, system.session.table
            shown = published.systems[0]
            write_tensorboard(logger.experiment, table, shown, board, curves, step=step)


def hyperparameters(config: Mapping[str, Any]) -> dict[str, str | float]:
    """Return the hyperparameters that a sweep may vary, the most important first.

    TensorBoard shows five columns at once, so that the class names of the parts come first.
    """
    if not config:
        return {}
    chosen: dict[str, str | float] = {
        "data": config["data"]["name"],
        "model": config["model"]["name"],
    }
    parts = {name: config[name] for name in ("loss", "miner", "optimizer", "scheduler")}
    chosen |= {name: part["_target_"].rpartition(".")[2] for name, part in parts.items()}
    chosen |= {"seed": config["seed"], "data.batch_size": config["data"]["batch_size"]}
    for name, part in {"model": config["model"], **parts}.items():
        chosen |= {
            f"{name}.{option}": value
            for option, value in part.items()
            if option not in ("_target_", "_partial_", "name", "folder")
            and isinstance(value, str | float | int)
        }
    return chosen
