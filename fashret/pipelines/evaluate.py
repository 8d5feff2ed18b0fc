"""Evaluate a model, a run or a catalog, by a split's scoreboard or a published benchmark."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fashret.catalog.store import MANIFEST
from fashret.errors import CheckpointError, ConfigError
from fashret.evaluation.benchmarks.base import (
    ALL_SPLITS,
    Benchmark,
    EvaluationInputs,
    evaluate_benchmark,
)
from fashret.evaluation.embed import evaluate_split
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.head_weights import WeightCurve, sweep_head_weights
from fashret.evaluation.latency import search_latency, text_query_latency
from fashret.models.checkpoint import checkpoint_path, read_checkpoint
from fashret.models.retriever import Retriever
from fashret.pipelines.held_out import check_held_out
from fashret.pipelines.publish import Published, ReportOptions, publish, write_tensorboard
from fashret.pipelines.search import draw_queries
from fashret.pipelines.session import Session, SessionOptions, check_weights, shown_split
from fashret.pipelines.systems import System
from fashret.reports.head_weights import write_weight_curves
from fashret.reports.notebook import scoreboard_html
from fashret.reports.scoreboard import Scoreboard

log = logging.getLogger(__name__)

QUICK_QUERIES, QUICK_ITEMS = 500, 5_000
"""What `quick` looks at."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What is evaluated, against what, and by what.

    Args:
        session: model, data and how retrieval is evaluated.
        run: a run folder, or a catalog folder; None for the model as it is, or `ckpt`.
        ckpt: last, best, or the path of a checkpoint.
        baseline: another run, or a catalog; None compares a run with its untrained model.
        split: whose items ask; None for what the run's own scoreboard showed, and validation for a
            model as it is.
        benchmark: a published one, in place of the split's scoreboard.
        queries: typed texts, whose best photos are drawn.
        quick: whether a sample of 500 queries and 5,000 items is enough.
        allow_trained_items: whether items that a run was trained on are evaluated, with a warning.
        report: what is left beside the numbers.
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
    report: ReportOptions = field(default_factory=ReportOptions)


@dataclass(frozen=True)
class EvaluateResult:
    """What an evaluation gave.

    Attributes:
        system: what was evaluated.
        evaluation: everything that it found.
        published: its scoreboard, metrics and files.
        curves: how each attribute head's weight changes a search; empty for none.
        queries: the picture of what typed queries found; None for none.
    """

    system: System
    evaluation: Evaluation
    published: Published
    curves: Sequence[WeightCurve]
    queries: Path | None

    @property
    def model(self) -> Retriever:
        """The evaluated model with its towers; a catalog has none."""
        return self.system.towers

    @property
    def scoreboard(self) -> Scoreboard:
        """The headline metrics, compared where there is a baseline."""
        return self.published.scoreboard

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """Every metric by key: value, low, high, n, ceiling, chance."""
        return self.published.metrics

    @property
    def folder(self) -> Path:
        """Where the results were written."""
        return self.system.session.output_dir

    def _repr_html_(self) -> str:
        """The scoreboard as a picture."""
        return scoreboard_html(self.scoreboard)


def evaluate(options: EvaluateOptions) -> EvaluateResult | None:
    """Evaluate one system, and leave the results in the run folder.

    Returns:
        what was found; None in every process but the first.

    Raises:
        FashretError: see its kinds; nothing is written then.
    """
    system = evaluated_system(options)
    session = system.session
    if options.queries and system.retriever is None:
        raise ConfigError(f"queries= needs a model; run={system.name} is a catalog")
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
        evaluations = [_by_benchmark(system, options.benchmark, split, system)]
        baseline = (
            None if other is None else [_by_benchmark(other, options.benchmark, split, system)]
        )
        where = split or "all splits"
        title = f"{name}: {options.benchmark.name} on {session.source.name}, {where}"
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
    if options.benchmark is None and system.blocks:
        # Weights of attribute heads are a choice, which is not made on test unless it is named.
        named = options.split is not None or "validation" not in session.table.splits
        chosen_on = str(split) if named else "validation"
        before = None if baseline is None else baseline[-1]
        if other is not None and chosen_on != split:
            before = evaluate_splits(other, [chosen_on], like=system)[-1]
        curves = head_weight_curves(system, chosen_on, before)
    with SummaryWriter(str(session.output_dir / "tensorboard")) as writer:
        write_tensorboard(writer, session.table, published.systems[0], published.scoreboard, curves)
    return EvaluateResult(system, evaluations[-1], published, curves, picture)


def evaluated_system(options: EvaluateOptions) -> System:
    """Open the session and the system that `run`, `ckpt` and the model name.

    Raises:
        CatalogError: `run` names a catalog of other items.
        CheckpointError: `run` names neither a run nor a catalog.
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
        the other system, None for a model as it comes; and what the two are called.
    """
    if baseline is not None:
        other = System.named(system.session, baseline)
        return other, f"{system.name} against {other.name}"
    untrained = None if system.state is None else System.untrained(system.session)
    return untrained, system.name


def split_to_evaluate(options: EvaluateOptions, session: Session) -> str | None:
    """The split that is evaluated; None for all, which some benchmarks are about."""
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
    """Evaluate a system, a split at a time.

    Args:
        system: what is evaluated.
        splits: whose items ask.
        like: the system that it is compared with, whose session says what is relevant: two
            models may differ in which captions they can tell apart.
    """
    session = system.session if like is None else like.session
    plans = [session.split_search(split) for split in splits]
    return [evaluate_split(plan, system.embedded(plan.rows)) for plan in plans]


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
        weighted=lambda asked: embedded.layout.weighted(asked, weights),
    )
    return evaluate_benchmark(benchmark, split, options, inputs)


def measure_latency(system: System, evaluation: Evaluation) -> dict[str, Any]:
    """Time single queries: their search, and a text's encoding with it.

    Encoding needs the towers, which are loaded for it; a catalog folder has none.

    Returns:
        what metrics.json holds.
    """
    session, options = system.session, evaluation.plan.options
    search = next(iter(evaluation.plan.searches.values()))
    rows = search.gallery_rows
    gallery = system.embedded(rows)
    asking = search.query_rows[search.query_rows >= 0]
    queries = system.embedded(np.unique(asking)).image if len(asking) else gallery.image
    k = max(options.k)

    def weighted(asked: Tensor) -> Tensor:
        return gallery.layout.weighted(asked, options.weights or {})

    found: dict[str, Any] = {"device": str(gallery.image.device), "items": len(rows)}
    found["search_ms"] = search_latency(weighted(queries), gallery.image, k)
    texts = session.table.column("text")
    asked = [texts[row] for row in (asking if len(asking) else rows) if texts[row]]
    if asked and system.retriever is not None:
        try:
            towers = system.towers
        except CheckpointError as e:
            log.warning("text queries are not timed: %s", e)
        else:
            found["text_query_ms"] = text_query_latency(towers, asked, gallery.image, k, weighted)
    return found


def head_weight_curves(
    system: System, split: str, baseline: Evaluation | None
) -> list[WeightCurve]:
    """Search with rising weights of the attribute heads, if there are any; write the curves."""
    session = system.session
    if not system.blocks:
        return []
    plan = session.split_search(split)
    asked = {target.metric: target.rise for target in session.targets if target.rise is not None}
    curves = sweep_head_weights(plan, system.embedded(plan.rows), baseline, asked)
    write_weight_curves(session.output_dir, curves)
    return curves
