"""Evaluate a model, a run or a catalog, by a split's scoreboard or a published benchmark."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fashret.catalog.folder import MANIFEST
from fashret.data.embeddings import is_export
from fashret.errors import CheckpointError, ConfigError
from fashret.evaluation.benchmarks import SearchLog
from fashret.evaluation.benchmarks.base import (
    ALL_SPLITS,
    Benchmark,
    EvaluationInputs,
    evaluate_benchmark,
)
from fashret.evaluation.compression import Compression
from fashret.evaluation.embed import evaluate_split
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.head_weights import WeightCurve, sweep_head_weights
from fashret.evaluation.latency import search_latency, text_query_latency
from fashret.models.checkpoint import checkpoint_path, read_checkpoint
from fashret.pipelines.held_out import check_held_out
from fashret.pipelines.publish import PublishedSystem, ReportOptions, publish, write_tensorboard
from fashret.pipelines.query_sheet import draw_queries
from fashret.pipelines.session import Session, SessionOptions, check_weights, shown_split
from fashret.pipelines.systems import System
from fashret.reports.head_weights import write_weight_curves

log = logging.getLogger(__name__)

QUICK_QUERIES, QUICK_ITEMS = 500, 5_000
"""The sample sizes of `quick=true`."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of an evaluation.

    Args:
        session: the model, the data and the retrieval options.
        run: a run folder or a catalog folder; None for the untrained model, or that of `ckpt`.
        ckpt: last, best, or the path of a checkpoint.
        baseline: another run or catalog; None compares a run with its untrained model.
        split: the split of the queries; None for that of the run's scoreboard, and for validation
            with an untrained model.
        benchmark: a published benchmark to run instead of the split's scoreboard.
        queries: texts whose best photos are drawn in queries.jpg.
        quick: whether to evaluate a sample of 500 queries and 5,000 items.
        allow_trained_items: whether to evaluate items that a run was trained on, with a warning.
        compress: how embeddings are made smaller; without `baseline`, the comparison is with the
            whole ones.
        report: options of the report.
    """

    session: SessionOptions
    run: str | None = None
    ckpt: str = "last"
    baseline: str | None = None
    split: str | None = None
    benchmark: Benchmark | None = None
    queries: Sequence[str] = ()
    quick: bool = False
    allow_trained_items: bool = False
    compress: Compression = field(default_factory=Compression)
    report: ReportOptions = field(default_factory=ReportOptions)


@dataclass(frozen=True)
class EvaluateResult(PublishedSystem):
    """The result of an evaluation.

    Attributes:
        system: the evaluated system.
        evaluation: its rankings and metrics.
        published: its scoreboard, metrics and files.
        curves: the metrics over a range of weights of each attribute head; empty without heads.
        queries: the picture with the hits of `queries`; None for none.
    """

    evaluation: Evaluation
    curves: Sequence[WeightCurve]
    queries: Path | None


def evaluate(options: EvaluateOptions) -> EvaluateResult | None:
    """Evaluate a system, and write the results to the run folder.

    Returns:
        The result; None in every process but that with rank 0.

    Raises:
        FashretError: see `fashret.errors`; nothing is written then.
    """
    if options.benchmark is not None and options.compress:
        raise ConfigError(
            f"compress: protocol={options.benchmark.name} compares whole embeddings: leave one out"
        )
    system = evaluated_system(options)
    session = system.session
    if options.benchmark is None:
        _ = session.targets  # an unusable one is an error before the search
    if options.queries and system.retriever is None:
        raise ConfigError(
            f"queries= needs a model to embed the texts, but run={system.name} is a "
            "catalog: give the run folder that it was built from"
        )
    split = split_to_evaluate(options, session)
    other, name = compared_system(options.baseline, system)
    for each in (system, other):
        if each is not None:
            check_held_out(each, split, allowed=options.allow_trained_items)
    if not session.group.keep_rank_zero():
        return None
    if options.benchmark is None:
        evaluations = evaluate_splits(system, [str(split)])
        baseline = None if other is None else evaluate_splits(other, [str(split)], like=system)
        title = f"{name}, {session.source.name}, {split}"
    else:
        benchmark = split_as_trained(options.benchmark, session)
        evaluations = [_by_benchmark(system, benchmark, split, system)]
        baseline = None if other is None else [_by_benchmark(other, benchmark, split, system)]
        where = split or "all splits"
        title = f"{name}: {benchmark.name} on {session.source.name}, {where}"
    picture = None
    if options.queries:
        rows = session.rows(None) if split is None else session.split_search(split).gallery
        picture = draw_queries(system, options.queries, rows)
    latency = measure_latency(system, evaluations[-1]) if options.report.latency else None
    published = publish(
        system,
        evaluations,
        other,
        baseline,
        title=title,
        options=options.report,
        latency=latency,
        against_run=options.baseline is not None,
    )
    curves: list[WeightCurve] = []
    if options.benchmark is None and system.attribute_heads:
        # Weights are tuned on validation; on test only if the user names it.
        named = options.split is not None or "validation" not in session.table.splits
        chosen_on = str(split) if named else "validation"
        before = None if baseline is None else baseline[-1]
        if other is not None and chosen_on != split:
            before = evaluate_splits(other, [chosen_on], like=system)[-1]
        curves = head_weight_curves(system, chosen_on, before)
    with SummaryWriter(str(session.output_dir / "tensorboard")) as writer:
        write_tensorboard(writer, session.table, published.systems[0], published.scoreboard, curves)
    return EvaluateResult(system, published, evaluations[-1], curves, picture)


def evaluated_system(options: EvaluateOptions) -> System:
    """Open the session and the system, with its embeddings compressed if that is asked for.

    Raises:
        ConfigError: the embeddings cannot be compressed.
        CatalogError, CheckpointError: see `_whole_system`.
    """
    system, compression = _whole_system(options), options.compress
    if compression:
        dim = int(
            system.catalog.manifest["dim"] if system.retriever is None else system.retriever.dim
        )
        log.info(
            "embeddings of %d bytes an item in place of %d (%s)",
            compression.item_bytes(dim),
            4 * dim,
            compression,
        )
    return system.compressed(compression)


def _whole_system(options: EvaluateOptions) -> System:
    """Open the session and the system that `run`, `ckpt` and the model name.

    Raises:
        CatalogError: `run` names a catalog of other items.
        CheckpointError: `run` names neither a run folder nor a catalog.
    """
    opened, run, ckpt = options.session, options.run, options.ckpt
    if options.quick:
        retrieval = opened.retrieval
        retrieval = replace(
            retrieval,
            max_queries=retrieval.max_queries or QUICK_QUERIES,
            max_items=retrieval.max_items or QUICK_ITEMS,
        )
        opened = replace(opened, retrieval=retrieval)
    weights = opened.retrieval.weights
    folder = None if run is None else Path(run).expanduser()
    if folder is not None and (folder / MANIFEST).is_file():
        system = System.stored(Session.open(opened), folder)
        check_weights(weights, system.catalog.layout.attributes)
        return system
    if run is not None and is_export(run):
        check_weights(weights, ())
        return System.imported(Session.open(opened), run)
    checkpoint = None
    if run is not None or ckpt not in ("last", "best"):
        checkpoint = checkpoint_path(run, ckpt)
    session = Session.open(opened)
    check_weights(weights, tuple(session.spec.block_widths))
    if checkpoint is None:
        return System.untrained(session)
    state = read_checkpoint(checkpoint)[1]
    return System.trained(str(run or ckpt), session, state, checkpoint)


def compared_system(baseline: str | None, system: System) -> tuple[System | None, str]:
    """Resolve `baseline` (else the untrained model), and the title of the two together.

    Returns:
        The baseline, None for an untrained model without `baseline`; and the title.
    """
    if baseline is not None:
        other = System.named(system.session, baseline)
        return other, f"{system.name} against {other.name}"
    if system.compression:
        return system.whole, system.name
    untrained = None if system.state is None else System.untrained(system.session)
    return untrained, system.name


def split_to_evaluate(options: EvaluateOptions, session: Session) -> str | None:
    """Return the split to evaluate; None for all items, as some benchmarks require."""
    benchmark = options.benchmark
    if benchmark is not None and benchmark.split == ALL_SPLITS:
        return None
    if benchmark is not None and benchmark.split is not None:
        return benchmark.split
    if options.split is not None:
        return options.split
    trained = options.run is not None or options.ckpt not in ("last", "best")
    return shown_split(session) if trained else "validation"


def evaluate_splits(
    system: System, splits: Sequence[str], *, like: System | None = None
) -> list[Evaluation]:
    """Evaluate a system on each of some splits.

    Args:
        system: the system to evaluate.
        splits: the splits.
        like: the system whose session defines the ground truth, for a fair comparison (tokenizers
            differ in which captions they can distinguish); None for the system itself.
    """
    session = system.session if like is None else like.session
    plans = [session.split_search(split) for split in splits]
    return [evaluate_split(plan, system.embedded_plan(plan)) for plan in plans]


def split_as_trained(benchmark: Benchmark, session: Session) -> Benchmark:
    """Split the queries of a search log as the run that learned from one did.

    Without it, a log that states no splits would be evaluated by the queries of the training.

    Args:
        benchmark: the benchmark; only a search log without `splits` is changed.
        session: the session of the run, which has the data source that it was trained with.
    """
    source = session.source
    if not isinstance(benchmark, SearchLog) or benchmark.splits or source.judgments is None:
        return benchmark
    log.info("queries without a stated split are split as in training, by data.splits")
    return replace(benchmark, splits=source.splits, split_seed=source.split_seed)


def _by_benchmark(
    system: System, benchmark: Benchmark, split: str | None, like: System
) -> Evaluation:
    """Evaluate a system by a benchmark."""
    session, codes = system.session, like.session.codes
    rows, options = session.rows(split), session.options.retrieval
    embedded = system.embedded(rows)
    weights = options.weights or {}

    def new_texts(texts: Sequence[str]) -> Tensor:
        parts = [texts[i : i + 256] for i in range(0, len(texts), 256)]
        return torch.cat([system.towers.embed_texts(part) for part in parts]).cpu()

    inputs = EvaluationInputs(
        table=session.table,
        codes=codes,
        rows=rows,
        image=embedded.image.cpu(),
        text=embedded.text.cpu(),
        embed_texts=new_texts,
        weighted=lambda queries: embedded.layout.weighted(queries, weights),
        compose=system.compose,
    )
    return evaluate_benchmark(benchmark, split, options, inputs)


def measure_latency(system: System, evaluation: Evaluation) -> dict[str, Any]:
    """Measure the latency of single queries: of the search, and of text queries end to end.

    Text queries need the towers, which are loaded; they are not measured for a catalog.

    Returns:
        The measurements as in metrics.json, in milliseconds.
    """
    session, options = system.session, evaluation.plan.options
    search = next(iter(evaluation.plan.searches.values()))
    rows = search.gallery_rows
    gallery = system.embedded(rows)
    item_queries = search.query_rows[search.query_rows >= 0]
    is_any = len(item_queries) > 0
    queries = system.embedded(np.unique(item_queries)).image if is_any else gallery.image
    k = max(options.k)

    def weighted(embeddings: Tensor) -> Tensor:
        return gallery.layout.weighted(embeddings, options.weights or {})

    measured: dict[str, Any] = {"device": str(gallery.image.device), "items": len(rows)}
    measured["search_ms"] = search_latency(weighted(queries), gallery.image, k)
    texts = session.table.column("text")
    query_texts = [texts[row] for row in (item_queries if is_any else rows) if texts[row]]
    encodes = session.spec.has_towers and session.spec.reads_text
    if query_texts and system.retriever is not None and encodes:
        try:
            towers = system.towers
        except CheckpointError as e:
            log.warning("the latency of text queries is not measured: %s", e)
        else:
            measured["text_query_ms"] = text_query_latency(
                towers, query_texts, gallery.image, k, weighted
            )
    return measured


def head_weight_curves(
    system: System, split: str, baseline: Evaluation | None
) -> list[WeightCurve]:
    """Evaluate a range of weights of each attribute head; write steering.json and steering.md.

    Args:
        system: the system to evaluate.
        split: the split of the queries.
        baseline: the evaluation of the baseline on the split; None for none.

    Returns:
        The metrics of each head over the weights; empty if the system has no attribute heads.
    """
    session = system.session
    if not system.attribute_heads:
        return []
    plan = session.split_search(split)
    rises = {target.metric: target.rise for target in session.targets if target.rise is not None}
    curves = sweep_head_weights(plan, system.embedded(plan.rows), baseline, rises)
    write_weight_curves(session.output_dir, curves)
    return curves
