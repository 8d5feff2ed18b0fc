"""Train a model: prepare, encode once, train, and show what improved."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import seed_everything
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fashret.catalog.store import Catalog
from fashret.data.leakage import write_training_record
from fashret.engine.callbacks import EpochLines, TrainLog
from fashret.engine.datamodule import FashionData
from fashret.engine.module import RetrievalModule
from fashret.errors import ConfigError
from fashret.evaluation.block_weights import Curve
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.plan import KEY_NAMES
from fashret.launch_env import is_restart
from fashret.losses import AttributeBlocks, Composite
from fashret.miners.base import Miner
from fashret.models.checkpoint import checkpoint_path, read_checkpoint, trained_epochs
from fashret.models.retriever import Retriever
from fashret.pipelines.evaluate import evaluate_splits, measure_latency, steering_curves
from fashret.pipelines.held_out import check_same_data
from fashret.pipelines.publish import Published, ReportOptions, publish, write_tensorboard
from fashret.pipelines.session import Session, SessionOptions, check_weights, shown_split
from fashret.pipelines.systems import System
from fashret.pipelines.trainer import TrainerOptions
from fashret.pipelines.training_items import training_items
from fashret.reports.notebook import scoreboard_html
from fashret.reports.scoreboard import Scoreboard
from fashret.types import TrainingItems

log = logging.getLogger(__name__)

DEFAULT_MONITOR = "val/text/pair/mrr@10"
"""The metric that `best` means by default, and that a sweep compares."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What is trained, and how.

    Args:
        session: model, data and how retrieval is evaluated.
        loss: over rows, columns and relations.
        miner: which of the valid pairs the loss sees.
        block_loss: what attribute heads learn.
        optimizer: makes an optimizer of parameter groups.
        scheduler: makes a schedule of an optimizer, given `steps_per_epoch`.
        trainer: Lightning's trainer, its callbacks and loggers.
        seed: of weights and order; the data has its own.
        gather: whether the batch of several processes is that of all of them together.
        resume: a run folder that is gone on with; None for a new run.
        ckpt: which checkpoint is evaluated at the end: last or best.
        monitor: the metric that `best` means and a sweep compares.
        report: what is left beside the numbers.
        config: the whole configuration as plain containers, kept in every checkpoint; its `model`
            is what the checkpoint is loaded by.
    """

    session: SessionOptions
    loss: nn.Module
    miner: Miner
    block_loss: AttributeBlocks
    optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer]
    scheduler: Callable[..., LRScheduler]
    trainer: TrainerOptions
    seed: int = 0
    gather: bool = True
    resume: str | None = None
    ckpt: str = "last"
    monitor: str = DEFAULT_MONITOR
    report: ReportOptions = field(default_factory=ReportOptions)
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainResult:
    """What a training run gave.

    Attributes:
        system: the trained model over its data; the untrained one where nothing learns.
        evaluations: of the model, one a split; the last one is shown.
        published: its scoreboard, metrics and files.
        curves: how each attribute head's weight changes a search; empty for none.
        objective: the monitored metric, the worst value where it is undefined.
    """

    system: System
    evaluations: Sequence[Evaluation]
    published: Published
    curves: Sequence[Curve]
    objective: float

    @property
    def model(self) -> Retriever:
        """The trained model with its towers: `encode_image`, `encode_text`."""
        return self.system.towers

    @property
    def scoreboard(self) -> Scoreboard:
        """What improved and what regressed, with verdicts."""
        return self.published.scoreboard

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """Every metric by key: value, low, high, n, ceiling, chance."""
        return self.published.metrics

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.system.session.output_dir

    def _repr_html_(self) -> str:
        """The scoreboard as a picture."""
        return scoreboard_html(self.scoreboard)


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch, workers included."""
    seed_everything(seed, workers=True, verbose=False)


def train(options: TrainOptions) -> TrainResult | None:
    """Run one training from data to scoreboard.

    Returns:
        what came of it; None in every process but the first.

    Raises:
        FashretError: see its kinds.
    """
    check_options(options)
    seed_all(options.seed)
    session = Session.open(options.session)
    check_weights(session.options.retrieval.weights, tuple(session.spec.block_widths))
    checkpoint = resume_from(options, session)
    check_same_data(session, checkpoint)
    untrained = System.untrained(session)
    splits = splits_to_evaluate(session)
    baseline = evaluate_splits(untrained, splits)
    title = scoreboard_title(options, session, splits[-1])

    items = training_items(session, options.loss, untrained.catalog, gather=options.gather)
    module = make_module(options, session, items, untrained.catalog)
    data = make_data(options, session, items, untrained.catalog, module.miner)
    composed, shared = str(options.session.output_dir), str(session.output_dir)
    trainer = options.trainer.moved(composed, shared).make(options.monitor)
    log_evaluations(trainer, baseline, to_train_log=True)
    if not session.spec.learns:
        log.info("nothing learns (model.heads=false, model.train=heads): measuring the baseline")
        if not session.group.keep_rank_zero():
            return None
        return _finish(options, title, untrained, baseline, None, None)

    if session.group.global_rank == 0:
        write_training_record(session.output_dir, session.table, items.rows.numpy())
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    session.reload_backbone()
    system = System.trained(title, session, final_state(options, session, module))
    if not session.group.keep_rank_zero():
        return None
    final = evaluate_splits(system, splits)
    log_evaluations(trainer, final, to_train_log=False)
    result = _finish(options, title, system, final, untrained, baseline)
    log_result(trainer, options, result)
    return result


def _finish(
    options: TrainOptions,
    title: str,
    system: System,
    evaluations: Sequence[Evaluation],
    other: System | None,
    baseline: Sequence[Evaluation] | None,
) -> TrainResult:
    """Write what a run leaves."""
    latency = measure_latency(system, evaluations[-1]) if options.report.latency else None
    published = publish(
        system,
        evaluations,
        other,
        baseline,
        title=title,
        options=options.report,
        latency=latency,
    )
    curves: Sequence[Curve] = []
    if other is not None and baseline is not None:
        split = evaluations[0].plan.split
        assert split is not None
        curves = steering_curves(system, split, baseline[0])
    return TrainResult(system, evaluations, published, curves, objective(options, evaluations))


def check_options(options: TrainOptions) -> None:
    """Make sure that what is asked for fits what learns.

    Raises:
        ConfigError: captions that vary, with stored features; weights that are shared out over
            processes, where what learns is small; a mean of weights that have none.
    """
    spec, shards = options.session.model, options.trainer.shards
    if shards and spec.train in ("heads", "lora"):
        raise ConfigError(
            f"trainer=fsdp shares out the weights of towers that learn; with model.train="
            f"{spec.train} what learns is small: trainer=ddp"
        )
    _check_epochs(options)
    if options.ckpt not in ("last", "best"):
        raise ConfigError(f"ckpt={options.ckpt}: a training run evaluates its last or its best")
    targets = {
        name: str(node.get("_target_")) for name, node in options.trainer.callbacks.items() if node
    }
    means = [name for name, target in targets.items() if target.endswith((".WiseFT", ".PowerEMA"))]
    if means and (shards or spec.train == "lora"):
        raise ConfigError(
            f"callbacks.{means[0]} with {'trainer=fsdp' if shards else 'model.train=lora'}: "
            "weights that are shared out, and the two factors of an adapter, have no mean that "
            "would be the model's; use model.train=blocks or all on whole towers"
        )
    if options.session.source.captions is not None and spec.train == "heads":
        raise ConfigError(
            "data.captions needs towers that learn (model.train=all, blocks or lora): a stored "
            "text feature is of one caption"
        )


def _check_epochs(options: TrainOptions) -> None:
    """Make sure that a run that is resumed may train at least as long as it did."""
    if options.resume is None:
        return
    path = checkpoint_path(options.resume, "last")
    done, wanted = trained_epochs(path), options.trainer.trainer.get("max_epochs")
    if wanted is not None and 0 <= int(wanted) < done:
        raise ConfigError(
            f"trainer.max_epochs={wanted}, but {path} has trained {done} epochs already: resume "
            f"with trainer.max_epochs={done} or more"
        )


def make_module(
    options: TrainOptions, session: Session, items: TrainingItems, baseline: Catalog
) -> RetrievalModule:
    """Make the module: heads over stored features, or over towers that learn."""
    spec = session.spec
    retriever = (
        Retriever(*baseline.heads) if spec.frozen else Retriever.from_backbone(session.backbone)
    )
    retriever.add_blocks(spec).set_training(spec)
    options.miner.prepare(items, baseline)
    if isinstance(options.loss, Composite):
        options.loss.prepare(items, baseline)
    options.block_loss.prepare(items, baseline)
    return RetrievalModule(
        retriever.train(),
        options.loss,
        options.miner,
        options.block_loss,
        options.optimizer,
        options.scheduler,
        dict(options.config),
        gather=options.gather,
        decay_to_initial=not spec.random,
    )


def make_data(
    options: TrainOptions, session: Session, items: TrainingItems, baseline: Catalog, miner: Miner
) -> FashionData:
    """Make the loaders of a run, which is evaluated on the validation split."""
    return FashionData(
        session.table,
        session.codes,
        session.source,
        session.split_search("validation"),
        baseline=baseline,
        backbone=None if session.spec.frozen else session.backbone,
        training=items,
        miner=miner,
        seed=options.seed,
    )


def log_evaluations(
    trainer: pl.Trainer, evaluations: Sequence[Evaluation], *, to_train_log: bool
) -> None:
    """Put evaluations into the loggers at the trainer's step.

    Args:
        trainer: with the loggers.
        evaluations: one a split.
        to_train_log: whether they are the baseline's, which is epoch 0 of the log of training.
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


def log_result(trainer: pl.Trainer, options: TrainOptions, result: TrainResult) -> None:
    """Put the scoreboard, some items and the attribute heads' curves beside the run's values.

    The choices go with the final values, `final/<metric>`: a row of the tab HParams a run.
    """
    board, table = result.published.scoreboard, result.system.session.table
    rows = (*board.targets, *board.headlines)
    final = {f"final/{row.name}": row.value for row in rows if row.value is not None}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(choices(options.config), final)
            step, shown = trainer.global_step, result.published.systems[0]
            write_tensorboard(logger.experiment, table, shown, board, result.curves, step=step)


def choices(config: Mapping[str, Any]) -> dict[str, str | float]:
    """What a sweep may vary, the parts by their names first: TensorBoard shows five at once."""
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


def resume_from(options: TrainOptions, session: Session) -> str | None:
    """The checkpoint that a run goes on from: one that is resumed, or whose job came back.

    A job that is queued again has its last whole epoch, and, where SLURM warned it, what was saved
    then: the newer counts.
    """
    if options.resume is not None:
        return str(checkpoint_path(options.resume, "last"))
    folder = session.output_dir / "checkpoints"
    left = [folder / name for name in ("last.ckpt", "requeued.ckpt")]
    left = [path for path in left if path.is_file()] if is_restart() else []
    if not left:
        return None
    newest = max(left, key=lambda path: path.stat().st_mtime)
    log.info("the job was started again: resuming from %s", newest)
    return str(newest)


def scoreboard_title(options: TrainOptions, session: Session, split: str) -> str:
    """What a run's scoreboard is headed with."""
    what = f"{options.ckpt} checkpoint" if session.spec.learns else "baseline"
    return f"{session.spec.label} on {session.source.name}, {split}, {what}"


def splits_to_evaluate(session: Session) -> list[str]:
    """Validation, and test where the set has one: the last is what the scoreboard shows."""
    if (shown := shown_split(session)) != "validation":
        return ["validation", shown]
    log.info("data %s has no test split: the scoreboard is validation's", session.source.name)
    return ["validation"]


def final_state(
    options: TrainOptions, session: Session, module: RetrievalModule
) -> dict[str, Tensor]:
    """The weights that are evaluated: the checkpoint that `ckpt` names, as it can be read again."""
    last = session.output_dir / "checkpoints" / "last.ckpt"
    if options.ckpt == "last" and not last.is_file():
        # A run that keeps none: debug=overfit, fast_dev_run.
        return {f"retriever.{n}": v for n, v in module.retriever.learned_state().items()}
    return read_checkpoint(checkpoint_path(str(session.output_dir), options.ckpt))[1]


def objective(options: TrainOptions, evaluations: Sequence[Evaluation]) -> float:
    """The monitored metric, for a sweep to compare; the worst value where it is undefined.

    Raises:
        ConfigError: `monitor` names no metric.
    """
    means: dict[str, float] = {}
    for evaluation in evaluations:
        means |= evaluation.means()
    if options.monitor not in means:
        split = KEY_NAMES["validation"]
        raise ConfigError(
            f"monitor={options.monitor} is not a metric of this run; metric names look like "
            f"{split}/text/pair/mrr@10"
        )
    return 0.0 if math.isnan(means[options.monitor]) else means[options.monitor]
