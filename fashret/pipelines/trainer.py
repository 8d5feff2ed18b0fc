"""Lightning's trainer with its callbacks and loggers."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelSummary, ProgressBar

from fashret.engine.callbacks import CompactProgressBar, ParameterSummary
from fashret.instantiate import instantiate

Node = Mapping[str, Any]
"""What describes an object: plain containers with a `_target_`."""


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """How Lightning trains.

    Every run makes new objects of these descriptions, since a trainer and its callbacks belong to
    one run.

    Args:
        trainer: describes the Trainer.
        callbacks: descriptions by name; one that is null is left out.
        loggers: likewise.
    """

    trainer: Node
    callbacks: Mapping[str, Node | None] = field(default_factory=dict)
    loggers: Mapping[str, Node | None] = field(default_factory=dict)

    @property
    def shards(self) -> bool:
        """Whether the weights are shared out over processes (FSDP)."""
        return "ModelParallel" in str(self.trainer.get("strategy"))

    def moved(self, before: str, after: str) -> "TrainerOptions":
        """The same with another run folder.

        Several processes compose a folder each, and write into that of the first.

        Args:
            before: the folder that paths in the descriptions begin with.
            after: the folder that they shall begin with.
        """
        if before == after:
            return self
        moved = (
            _moved(dict(part), before, after)
            for part in (self.trainer, self.callbacks, self.loggers)
        )
        trainer, callbacks, loggers = moved
        return TrainerOptions(trainer=trainer, callbacks=callbacks, loggers=loggers)

    def make(self, monitor: str) -> pl.Trainer:
        """Make the trainer.

        There is no progress bar in a file or a pipe, which its control characters would fill.

        Args:
            monitor: the metric for callbacks that name none.
        """
        callbacks = _made(self.callbacks, "callbacks", monitor=monitor)
        bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
        summary = any(isinstance(callback, ModelSummary) for callback in callbacks)
        if self.trainer.get("enable_model_summary", True) and not summary:
            callbacks.append(ParameterSummary())
        wanted = self.trainer.get("enable_progress_bar", True)
        show_bar = wanted and (bar or sys.stdout.isatty() or "ipykernel" in sys.modules)
        if show_bar and not bar:
            callbacks.append(CompactProgressBar())
        trainer: pl.Trainer = instantiate(
            {**self.trainer, "enable_progress_bar": show_bar},
            "trainer",
            callbacks=callbacks,
            logger=_made(self.loggers, "logger") or False,
        )
        return trainer


def _made(group: Mapping[str, Node | None], path: str, **defaults: str) -> list[Any]:
    """The objects of a group of named nodes; a node that is null is left out.

    Args:
        group: the nodes.
        path: the group's key.
        defaults: values for arguments that a node names but leaves null.
    """
    made = []
    for name, node in group.items():
        if node is not None:
            unset = {key: value for key, value in defaults.items() if node.get(key, "") is None}
            made.append(instantiate({**node, **unset}, f"{path}.{name}"))
    return made


def _moved(value: Any, before: str, after: str) -> Any:
    """Plain containers with another folder at the beginning of their paths."""
    if isinstance(value, Mapping):
        return {key: _moved(part, before, after) for key, part in value.items()}
    if isinstance(value, list):
        return [_moved(part, before, after) for part in value]
    if isinstance(value, str) and (value == before or value.startswith(f"{before}/")):
        return after + value.removeprefix(before)
    return value
