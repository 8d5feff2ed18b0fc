"""The parts of a training run, each made from its own node of the configuration."""

import logging
import math
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from fashret.catalog.store import Catalog
from fashret.config import build, monitored_metric
from fashret.data.learnable import check_learnable
from fashret.data.product_grouping import STATED
from fashret.engine.callbacks import EpochLines, TrainLog
from fashret.engine.module import RetrievalModule
from fashret.errors import ConfigError, DataError
from fashret.evaluation.block_weights import Curve
from fashret.evaluation.embed import Judged
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.split_search import KEY_NAMES
from fashret.launch_env import again
from fashret.losses import AttributeBlocks, Composite
from fashret.models.retriever import Retriever
from fashret.pipelines.checkpoints import checkpoint_path, read_checkpoint, trained_epochs
from fashret.pipelines.evaluate import write_tensorboard
from fashret.pipelines.session import Setup, plain
from fashret.pipelines.systems import shown_split
from fashret.reports.groups import write_groups
from fashret.reports.scoreboard import Scoreboard
from fashret.types import UNKNOWN, TrainingItems

log = logging.getLogger(__name__)

_WITHOUT_VALUES = (".AnchorToBaseline", ".Distillation", ".HardNegatives")
"""Terms that keep or refine what pairs teach: alone they have nothing to learn from."""


def check_regime(cfg: DictConfig) -> None:
    """Make sure that what is asked for fits what learns.

    Raises:
        ConfigError: captions that vary, with stored features; weights that are shared out over
            processes, where what learns is small; a mean of weights that have none.
    """
    shares_out = "ModelParallel" in str(cfg.trainer.strategy)
    if shares_out and cfg.model.train in ("heads", "lora"):
        raise ConfigError(
            f"trainer=fsdp shares out the weights of towers that learn; with model.train="
            f"{cfg.model.train} what learns is small: trainer=ddp"
        )
    check_resumed_epochs(cfg)
    made = {key: str(node.get("_target_")) for key, node in (cfg.callbacks or {}).items() if node}
    means = [key for key, target in made.items() if target.endswith((".WiseFT", ".PowerEMA"))]
    if means and (shares_out or cfg.model.train == "lora"):
        raise ConfigError(
            f"callbacks.{means[0]} with {'trainer=fsdp' if shares_out else 'model.train=lora'}: "
            "weights that are shared out, and the two factors of an adapter, have no mean that "
            "would be the model's; use model.train=blocks or all on whole towers"
        )
    if cfg.data.captions is not None and cfg.model.train == "heads":
        raise ConfigError(
            "data.captions needs towers that learn (model.train=all, blocks or lora): a stored "
            "text feature is of one caption"
        )


def check_resumed_epochs(cfg: DictConfig) -> None:
    """Make sure that a run that is resumed may train at least as long as it did.

    Raises:
        ConfigError: it has trained more epochs already.
    """
    if cfg.resume is None:
        return
    path = checkpoint_path(cfg.resume, "last")
    done = trained_epochs(path)
    if 0 <= cfg.trainer.max_epochs < done:
        raise ConfigError(
            f"trainer.max_epochs={cfg.trainer.max_epochs}, but {path} has trained {done} epochs "
            f"already: resume with trainer.max_epochs={done} or more"
        )


def training_items(setup: Setup, baseline: Catalog) -> TrainingItems:
    """What is trained on, after photos that look like one product under one title were joined.

    Items whose product or photo also occurs in another split are not trained on.
    `mining/groups.json` in the run folder holds the products, `groups_audit.csv` some of them to
    look at.

    Raises:
        DataError: nothing is left to train on.
    """
    table, grouping = setup.table, setup.source.groups
    rows, codes = torch.from_numpy(table.rows("train")), setup.codes
    product, confidence = codes.product, torch.from_numpy(table.confidence)
    joined = torch.zeros(len(table), dtype=torch.bool)
    looks = grouping is not None and grouping.title_confidence >= grouping.min_confidence
    if grouping is not None and looks and not setup.spec.random:  # random towers tell nothing
        product, joined = grouping.by_title(table.column("text"), baseline.image, product)
        confidence = torch.where(joined, grouping.title_confidence, confidence)
    elsewhere = torch.ones(len(table), dtype=torch.bool)
    elsewhere[rows] = False
    told = (joined | (confidence < STATED))[rows] & (product[rows] != UNKNOWN)
    photo = torch.from_numpy(table.photo_codes)
    copied = torch.isin(photo[rows], photo[elsewhere])
    leaks = copied | (told & torch.isin(product[rows], product[elsewhere]))
    if bool(leaks.any()):
        log.warning(
            "dropping %d training items whose photo or product also occurs in validation or test "
            "(leakage)",
            int(leaks.sum()),
        )
    if bool(leaks.all()):
        raise DataError(
            f"data {setup.source.name}: no training item is left: the photo or product of each "
            f"also occurs in validation or test (leakage), for {int(copied.sum())} of {len(rows)} "
            f"the photo itself. photo_copies in {table.folder / 'report.json'} names them; "
            "data.groups.title_confidence=0 joins no products by their titles"
        )
    items = TrainingItems(
        rows[~leaks],
        product,
        codes.caption,
        codes.described,
        table.column("item_id"),
        setup.source.tiers,
    )
    check_items(setup, items)
    if setup.team.global_rank == 0:
        write_groups(setup.output_dir / "mining", table, product, confidence, rows[leaks])
    return items


def check_items(setup: Setup, items: TrainingItems) -> None:
    """Make sure that the items have something to learn from, if anything learns.

    Raises:
        DataError: they do not.
        ConfigError: a batch holds one item.
    """
    if not setup.spec.learns:
        return
    captions = setup.source.captions
    caption = items.caption
    if captions is not None:
        caption = torch.from_numpy(captions.over(setup.table).codes)
    world = setup.team.world_size
    terms = [term for term in (setup.cfg.loss.get("terms") or {}).values() if term is not None]
    from_values = any(not str(term.get("_target_")).endswith(_WITHOUT_VALUES) for term in terms)
    check_learnable(
        items,
        caption,
        data=setup.source.name,
        batch_items=min(setup.source.batch_size, len(items.rows) // world)
        * (world if setup.cfg.gather else 1),
        values=from_values or bool(setup.spec.block_widths),
    )


def make_module(setup: Setup, items: TrainingItems, baseline: Catalog) -> RetrievalModule:
    """The module: heads over stored features, or over towers that learn."""
    cfg = setup.cfg
    frozen = setup.spec.frozen
    retriever = Retriever(*baseline.heads) if frozen else Retriever.on(setup.backbone)
    retriever.add_blocks(setup.spec).set_training(setup.spec)
    miner = build(cfg.miner)
    miner.prepare(items, baseline)
    loss = build(cfg.loss)
    if isinstance(loss, Composite):
        loss.prepare(items, baseline)
    block_loss: AttributeBlocks = build(cfg.block_loss)
    block_loss.prepare(items, baseline)
    return RetrievalModule(
        retriever.train(),
        loss,
        miner,
        block_loss,
        build(cfg.optimizer),
        build(cfg.scheduler),
        plain(cfg),
        gather=cfg.gather,
        decay_to_initial=not setup.spec.random,
    )


def log_evaluations(
    trainer: pl.Trainer, evaluations: Sequence[Evaluation], *, to_train_log: bool
) -> None:
    """Put evaluations into the loggers at the trainer's step.

    Args:
        trainer: with the loggers.
        evaluations: a split each.
        to_train_log: whether they are the baseline's, which is epoch 0 of the log of training.
    """
    for evaluation in evaluations:
        means = evaluation.means()
        known = {key: value for key, value in means.items() if not math.isnan(value)}
        for logger in trainer.loggers:
            logger.log_metrics(known, step=trainer.global_step)
        first = to_train_log and trainer.is_global_zero
        if first and evaluation.protocol.split == "validation":
            for callback in trainer.callbacks:  # type: ignore[attr-defined]  # not in its type
                if isinstance(callback, TrainLog) and callback.is_empty:
                    callback.write(means, epoch=0, step=0)
                if isinstance(callback, EpochLines):
                    callback.baseline = known.get(callback.monitor)


def log_outcome(
    trainer: pl.Trainer,
    setup: Setup,
    shown: Judged,
    scoreboard: Scoreboard,
    curves: Sequence[Curve],
) -> None:
    """Put the scoreboard, some items and the blocks' curves beside the run's own values.

    The choices go with the final values, `final/<metric>`: a row of the tab HParams a run.
    """
    rows = (*scoreboard.targets, *scoreboard.headlines)
    final = {f"final/{row.name}": row.value for row in rows if row.value is not None}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(choices(setup.cfg), final)
            step = trainer.global_step
            write_tensorboard(logger.experiment, setup.table, shown, scoreboard, curves, step=step)


def choices(cfg: DictConfig) -> dict[str, str | float]:
    """What a sweep may vary, the parts by their names first: TensorBoard shows five at once."""
    chosen: dict[str, str | float] = {"data": cfg.data.name, "model": cfg.model.name}
    parts = {name: plain(cfg)[name] for name in ("loss", "miner", "optimizer", "scheduler")}
    chosen |= {name: part["_target_"].rpartition(".")[2] for name, part in parts.items()}
    chosen |= {"seed": cfg.seed, "data.batch_size": cfg.data.batch_size}
    for name, part in {"model": plain(cfg.model), **parts}.items():
        chosen |= {
            f"{name}.{option}": value
            for option, value in part.items()
            if option not in ("_target_", "_partial_", "name", "folder")
            and isinstance(value, str | float | int)
        }
    return chosen


def resume_from(setup: Setup) -> str | None:
    """The checkpoint that a run goes on from: one that is resumed, or whose job came back.

    A job that is queued again has its last whole epoch, and, where SLURM warned it, what was saved
    then: the newer counts.
    """
    if setup.cfg.resume is not None:
        return str(checkpoint_path(setup.cfg.resume, "last"))
    left = [setup.output_dir / "checkpoints" / name for name in ("last.ckpt", "requeued.ckpt")]
    left = [path for path in left if path.is_file()] if again() else []
    if not left:
        return None
    newest = max(left, key=lambda path: path.stat().st_mtime)
    log.info("the job was started again: going on from %s", newest)
    return str(newest)


def title(setup: Setup, split: str) -> str:
    """What a training run's scoreboard is headed with."""
    what = f"{setup.cfg.ckpt} checkpoint" if setup.spec.learns else "baseline"
    return f"{setup.spec.label} on {setup.source.name}, {split}, {what}"


def splits_to_judge(setup: Setup) -> list[str]:
    """Validation, and test where the set has one: the last is what the scoreboard shows."""
    if (shown := shown_split(setup)) != "validation":
        return ["validation", shown]
    print(f"data {setup.source.name} has no test split: the scoreboard is validation's")
    return ["validation"]


def final_state(setup: Setup, module: RetrievalModule) -> dict[str, Tensor]:
    """The weights that are judged: the checkpoint that `ckpt` names, as it can be read again."""
    ckpt = setup.cfg.ckpt
    if ckpt not in ("last", "best"):
        raise ConfigError(f"ckpt={ckpt}: a training run judges its last or its best")
    if ckpt == "last" and not (setup.output_dir / "checkpoints" / "last.ckpt").is_file():
        # A run that keeps none: debug=overfit, fast_dev_run.
        return {f"retriever.{n}": v for n, v in module.retriever.learned_state().items()}
    return read_checkpoint(checkpoint_path(str(setup.output_dir), ckpt))[1]


def monitored(setup: Setup, evaluations: Sequence[Evaluation]) -> float:
    """The monitored metric, for a sweep to compare; the worst value where it is undefined.

    Raises:
        ConfigError: `monitor` names no metric.
    """
    means: dict[str, float] = {}
    for evaluation in evaluations:
        means |= evaluation.means()
    key = monitored_metric(setup.cfg)
    if key not in means:
        split = KEY_NAMES["validation"]
        raise ConfigError(
            f"monitor={key} is not a metric of this run; metric names look like "
            f"{split}/text/pair/mrr@10"
        )
    return 0.0 if math.isnan(means[key]) else means[key]
