"""Lightning's trainer, made from the configuration."""

import sys
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelSummary, ProgressBar

from fashret.config import build, monitored_metric
from fashret.engine.callbacks import CompactProgressBar, ParameterSummary


def make_trainer(cfg: DictConfig) -> pl.Trainer:
    """Lightning's trainer with the callbacks and loggers of the configuration.

    There is no progress bar in a file or a pipe, which its control characters would fill.
    """
    callbacks = _made(cfg.callbacks, monitor=monitored_metric(cfg))
    bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
    summary = any(isinstance(callback, ModelSummary) for callback in callbacks)
    if cfg.trainer.enable_model_summary and not summary:
        callbacks.append(ParameterSummary())
    show_bar = cfg.trainer.enable_progress_bar and (bar or sys.stdout.isatty())
    if show_bar and not bar:
        callbacks.append(CompactProgressBar())
    trainer: pl.Trainer = build(
        cfg.trainer,
        callbacks=callbacks,
        enable_progress_bar=show_bar,
        logger=_made(cfg.logger) or False,
    )
    return trainer


def _made(group: DictConfig | None, **defaults: str) -> list[Any]:
    """The objects of a group of named nodes; a node that is null is left out.

    Args:
        group: the nodes.
        defaults: values for arguments that a node names but leaves null.
    """
    made = []
    for node in (group or {}).values():
        if node is not None:
            unset = {n: value for n, value in defaults.items() if n in node and node[n] is None}
            made.append(build(node, **unset))
    return made
