"""Train a model: prepare the data, encode once, train, and compare with the baseline."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from pytorch_lightning import seed_everything
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fashret.catalog.folder import Catalog
from fashret.data.leakage import write_training_record
from fashret.engine.datamodule import FashionData
from fashret.engine.module import RetrievalModule
from fashret.errors import ConfigError, DataError
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.head_weights import WeightCurve
from fashret.evaluation.plan import KEY_NAMES, metric_keys
from fashret.launch_env import is_restart
from fashret.loading.batches import query_batch
from fashret.losses import AttributeBlocks, Composite, Matryoshka
from fashret.losses.base import prepare_loss
from fashret.losses.composite import contrastive_part
from fashret.miners import HardMiner
from fashret.miners.base import Miner
from fashret.models.checkpoint import checkpoint_path, read_checkpoint, trained_epochs
from fashret.models.retriever import Retriever
from fashret.pipelines.evaluate import evaluate_splits, head_weight_curves, measure_latency
from fashret.pipelines.held_out import check_same_data
from fashret.pipelines.narrow_heads import narrow_heads
from fashret.pipelines.publish import PublishedSystem, ReportOptions, publish
from fashret.pipelines.session import Session, SessionOptions, check_weights, shown_split
from fashret.pipelines.systems import System
from fashret.pipelines.train_logging import log_evaluations, log_result
from fashret.pipelines.trainer import TrainerOptions
from fashret.pipelines.training_items import training_items
from fashret.tasks import CaptionTask, ComposedTask, SearchLogTask
from fashret.tasks.training import TrainingTask
from fashret.types import Baseline, TrainingItems

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a training run.

    Args:
        session: the model, the data and the retrieval options.
        loss: the loss over rows, columns and their relations.
        tasks: what is trained for; each step has a batch of each task.
        miner: selects among the valid pairs of a batch.
        block_loss: the loss of the attribute heads.
        optimizer: makes an optimizer from parameter groups.
        scheduler: makes a learning-rate schedule from an optimizer and `steps_per_epoch`.
        trainer: Lightning's trainer, its callbacks and loggers.
        seed: the seed of weights and batch order; the data has its own.
        gather: whether the loss is over the batches of all processes together.
        resume: the run folder to resume; None for a new run.
        ckpt: the checkpoint to evaluate at the end: last or best.
        monitor: the key of the metric that selects the best checkpoint and a sweep compares; None
            for the metric of the first task.
        report: options of the report.
        config: the whole configuration as plain containers, saved in every checkpoint; its
            `model` is needed to load the checkpoint.
    """

    session: SessionOptions
    loss: nn.Module
    miner: Miner
    block_loss: AttributeBlocks
    optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer]
    scheduler: Callable[..., LRScheduler]
    trainer: TrainerOptions
    tasks: Sequence[TrainingTask] = (CaptionTask(),)
    seed: int = 0
    gather: bool = True
    resume: str | None = None
    ckpt: str = "last"
    monitor: str | None = None
    report: ReportOptions = field(default_factory=ReportOptions)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def monitored(self) -> str:
        """The key of the metric that selects the best checkpoint and a sweep compares."""
        return self.monitor or f"{KEY_NAMES['validation']}/{self.tasks[0].metric}"

    @property
    def text_tasks(self) -> list[str]:
        """The names of the tasks whose batches have the items' texts.

        The terms of a composite loss and the attribute heads read texts in the first task's.
        """
        terms = isinstance(self.loss, Composite) and len(self.loss.terms) > 0
        model = self.session.model
        first_reads = model.reads_text and (terms or bool(model.block_widths))
        return [
            task.name
            for number, task in enumerate(self.tasks)
            if task.reads_text or (number == 0 and first_reads)
        ]

    @property
    def trains_text(self) -> bool:
        """Whether the text tower is trained."""
        return bool(self.text_tasks) or any(task.trains_text for task in self.tasks)


@dataclass(frozen=True)
class TrainResult(PublishedSystem):
    """The result of a training run.

    Attributes:
        system: the trained model over its data; the untrained one if nothing is trainable.
        evaluations: its evaluations, one per split; the scoreboard shows the last.
        published: its scoreboard, metrics and files.
        curves: the metrics over a range of weights of each attribute head; empty without heads.
        objective: the monitored metric, 0 if it is undefined.
    """

    evaluations: Sequence[Evaluation]
    curves: Sequence[WeightCurve]
    objective: float


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch, also in data workers."""
    seed_everything(seed, workers=True, verbose=False)


def train(options: TrainOptions) -> TrainResult | None:
    """Train a model, from the data to the scoreboard.

    Returns:
        The result; None in every process but that with rank 0.

    Raises:
        FashretError: see `fashret.errors`.
    """
    check_options(options)
    seed_all(options.seed)
    session = Session.open(options.session)
    _ = session.targets  # an unusable one is an error before training
    check_weights(session.options.retrieval.weights, tuple(session.spec.block_widths))
    checkpoint = resume_from(options, session)
    check_same_data(session, checkpoint)
    check_judged(options, session)
    untrained = System.untrained(session)
    splits = splits_to_evaluate(session)
    baseline = evaluate_splits(untrained, splits)
    title = scoreboard_title(options, session, splits[-1])

    items = training_items(
        session, options.tasks, options.loss, untrained.catalog, gather=options.gather
    )
    module = make_module(options, session, items, untrained.catalog)
    data = make_data(options, session, items, untrained.catalog, module.miner)
    composed, shared = str(options.session.output_dir), str(session.output_dir)
    trainer = options.trainer.with_run_folder(composed, shared).make(options.monitored)
    log_evaluations(trainer, baseline, to_train_log=True)
    if not session.spec.learns:
        log.info(
            "nothing is trainable (model.heads=false, model.train=heads): evaluating the baseline"
        )
        if not session.group.keep_rank_zero():
            return None
        return _finish(options, title, untrained, baseline, None, None)

    if session.group.global_rank == 0:
        write_training_record(
            session.output_dir, session.table, items.rows.numpy(), session.imported_hash
        )
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    session.reload_backbone()
    system = System.trained(title, session, final_state(options, session, module))
    if not session.group.keep_rank_zero():
        return None
    final = evaluate_splits(system, splits)
    log_evaluations(trainer, final, to_train_log=False)
    result = _finish(options, title, system, final, untrained, baseline)
    log_result(trainer, options.config, result.system, result.published, result.curves)
    return result


def _finish(
    options: TrainOptions,
    title: str,
    system: System,
    evaluations: Sequence[Evaluation],
    other: System | None,
    baseline: Sequence[Evaluation] | None,
) -> TrainResult:
    """Publish the results of a run, and tune the weights of its attribute heads."""
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
    curves: Sequence[WeightCurve] = []
    if other is not None and baseline is not None:
        split = evaluations[0].plan.split
        assert split is not None
        curves = head_weight_curves(system, split, baseline[0])
    return TrainResult(system, published, evaluations, curves, objective(options, evaluations))


def check_options(options: TrainOptions) -> None:
    """Check options against the trainable part of the model.

    Raises:
        ConfigError: a task without what it learns from; caption templates with stored features;
            sharding (FSDP) of a model whose towers are frozen; weight averaging with FSDP or LoRA;
            `ckpt` is not last or best.
    """
    spec, shards = options.session.model, options.trainer.shards
    if shards and spec.train in ("heads", "lora"):
        raise ConfigError(
            f"trainer=fsdp shards the weights of trained towers, but model.train={spec.train} "
            "trains few weights: use trainer=ddp"
        )
    _check_epochs(options)
    _check_tasks(options)
    if options.ckpt not in ("last", "best"):
        raise ConfigError(f"ckpt={options.ckpt}: must be last or best in a training run")
    targets = {
        name: str(node.get("_target_")) for name, node in options.trainer.callbacks.items() if node
    }
    means = [name for name, target in targets.items() if target.endswith((".WiseFT", ".PowerEMA"))]
    if means and (shards or spec.train == "lora"):
        raise ConfigError(
            f"callbacks.{means[0]} with {'trainer=fsdp' if shards else 'model.train=lora'}: "
            "sharded weights and the factors of LoRA adapters cannot be averaged; use "
            "model.train=blocks or model.train=all without sharding"
        )
    if options.session.source.captions is not None and spec.train == "heads":
        raise ConfigError(
            "data.captions needs trained towers (model.train=all, blocks or lora): with frozen "
            "towers the stored text features are those of fixed captions"
        )


def check_judged(options: TrainOptions, session: Session) -> None:
    """Check that the monitored metric of judged queries has queries.

    Raises:
        DataError: no query of the validation split has a relevant item in it.
    """
    name = options.monitored.split("[")[0]
    plan = session.split_search("validation")
    if "/judged/" in name and name not in metric_keys(plan):
        raise DataError(
            f"data {session.source.name}: no judged query of the split validation has a relevant "
            f"item among its {len(plan.gallery)} items, so that {name} cannot be monitored. Add "
            "such queries, or monitor another metric (monitor=val/image/category/precision@10)"
        )


def _check_tasks(options: TrainOptions) -> None:
    """Check the tasks against the loss, the model and the data source."""
    names = [task.name for task in options.tasks]
    if getattr(contrastive_part(options.loss), "needs_products", False):
        for task in options.tasks:
            if not task.by_product:
                raise ConfigError(
                    f"task={task.name}: the loss classifies photos by their product: use "
                    "task=product or task=street, or another loss"
                )
    model = options.session.model
    if not model.reads_text and options.trains_text:
        lacks = "no text tower" if model.has_towers else "embeddings of photos alone"
        raise ConfigError(
            f"model.name={model.name} has {lacks}, and task={','.join(names)} needs texts: use "
            "task=product, street or attribute"
        )
    typed = [name for name in names if name in (SearchLogTask.name, ComposedTask.name)]
    if typed and not model.has_towers:
        raise ConfigError(
            f"task={typed[0]} needs a text tower for its queries, which data.embeddings has not: "
            "use task=caption, product, street or attribute"
        )
    source, composer = options.session.source, options.session.model.composer
    if SearchLogTask.name in names and source.judgments is None:
        raise ConfigError(
            "task=search_log needs data.judgments=<file>, a table with the columns query, item_id "
            "and weight"
        )
    if ComposedTask.name in names and composer is None:
        raise ConfigError("task=composed needs model.composer=sum or model.composer=gated")
    if ComposedTask.name not in names and composer is not None:
        raise ConfigError(
            f"model.composer={composer} needs task=composed: task={','.join(names)} does not train "
            "it"
        )


def _check_epochs(options: TrainOptions) -> None:
    """Check that a resumed run is not given fewer epochs than it has trained."""
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
    """Make the Lightning module: heads over stored features, or with towers that are trained."""
    spec = session.spec
    retriever = (
        Retriever(*baseline.heads) if spec.frozen else Retriever.from_backbone(session.backbone)
    )
    learned_from: Baseline = baseline
    if spec.dim is not None:
        learned_from = narrow_heads(retriever, spec.dim, items, baseline)
    retriever.add_parts(spec).set_training(spec, text=options.trains_text)
    general = contrastive_part(options.loss)
    if isinstance(general, Matryoshka):
        general.check_dim(retriever.image_head.out_features)
    mines = isinstance(options.miner, HardMiner)  # only then are queries encoded before training
    options.miner.prepare(with_embeddings(session, items, baseline) if mines else items, baseline)
    prepare_loss(options.loss, items, learned_from)
    options.block_loss.prepare(items, learned_from)
    return RetrievalModule(
        retriever.train(),
        options.loss,
        options.miner,
        options.block_loss,
        options.optimizer,
        options.scheduler,
        dict(options.config),
        tasks=options.tasks,
        queries={
            task.name: items.queries[task.name] for task in tasks_with_queries(options, items)
        },
        gather=options.gather,
        decay_to_initial=not spec.random,
    )


def make_data(
    options: TrainOptions, session: Session, items: TrainingItems, baseline: Catalog, miner: Miner
) -> FashionData:
    """Make the Lightning data module of a run; it is evaluated on the validation split."""
    plan = session.split_search("validation")
    query_inputs = session.query_features if session.spec.frozen else session.query_tokens
    return FashionData(
        session.table,
        session.codes,
        session.source,
        plan,
        baseline=baseline,
        backbone=None if session.spec.frozen else session.backbone,
        training=items,
        tasks=options.tasks,
        text_tasks=options.text_tasks,
        miner=miner,
        query_inputs={
            task.name: query_inputs(task.name)[items.queries[task.name].position]
            for task in tasks_with_queries(options, items)
        },
        validation_inputs={
            name: query_inputs(name)[one.queries.position] for name, one in plan.judged.items()
        },
        seed=options.seed,
    )


def with_embeddings(session: Session, items: TrainingItems, baseline: Catalog) -> TrainingItems:
    """Return the items with the untrained model's embeddings of their typed queries."""
    queries = dict(items.queries)
    for name, judged in queries.items():
        if judged.reference is None:
            heads = Retriever(*baseline.heads)
            features = session.query_features(name)[judged.position]
            with torch.inference_mode():
                embedding = heads.embed_queries(query_batch(features))
            queries[name] = replace(judged, embedding=heads.layout.block(embedding))
    return replace(items, queries=queries)


def tasks_with_queries(options: TrainOptions, items: TrainingItems) -> list[TrainingTask]:
    """Return the tasks whose queries are judged queries, not items."""
    return [task for task in options.tasks if task.name in items.queries]


def resume_from(options: TrainOptions, session: Session) -> str | None:
    """Return the checkpoint to resume from, by `resume` or after a restarted job; None if none.

    A requeued job has the checkpoint of its last epoch, and one from the warning of SLURM; the
    newer is used.
    """
    if options.resume is not None:
        return str(checkpoint_path(options.resume, "last"))
    folder = session.output_dir / "checkpoints"
    candidates = [folder / name for name in ("last.ckpt", "requeued.ckpt")]
    candidates = [path for path in candidates if path.is_file()] if is_restart() else []
    if not candidates:
        return None
    newest = max(candidates, key=lambda path: path.stat().st_mtime)
    log.info("the job was started again: resuming from %s", newest)
    return str(newest)


def scoreboard_title(options: TrainOptions, session: Session, split: str) -> str:
    """Return the title of a run's scoreboard."""
    what = f"{options.ckpt} checkpoint" if session.spec.learns else "baseline"
    return f"{session.spec.label} on {session.source.name}, {split}, {what}"


def splits_to_evaluate(session: Session) -> list[str]:
    """Return validation, and test if the data has it; the scoreboard shows the last."""
    if (shown := shown_split(session)) != "validation":
        return ["validation", shown]
    log.info("data %s has no test split: the scoreboard is that of validation", session.source.name)
    return ["validation"]


def final_state(
    options: TrainOptions, session: Session, module: RetrievalModule
) -> dict[str, Tensor]:
    """Return the trained weights to evaluate, read from the checkpoint that `ckpt` names."""
    last = session.output_dir / "checkpoints" / "last.ckpt"
    if options.ckpt == "last" and not last.is_file():
        # A run without checkpoints: debug=overfit, fast_dev_run.
        return {f"retriever.{n}": v for n, v in module.retriever.learned_state().items()}
    return read_checkpoint(checkpoint_path(str(session.output_dir), options.ckpt))[1]


def objective(options: TrainOptions, evaluations: Sequence[Evaluation]) -> float:
    """Return the monitored metric, which a sweep compares; 0 if it is undefined.

    Raises:
        ConfigError: `monitor` is not the key of a metric.
    """
    means: dict[str, float] = {}
    for evaluation in evaluations:
        means |= evaluation.means()
    monitor = options.monitored
    if monitor not in means:
        raise ConfigError(
            f"monitor={monitor} is not a metric of this run; metric names look like "
            f"{', '.join(list(means)[:3])}"
        )
    return 0.0 if math.isnan(means[monitor]) else means[monitor]
