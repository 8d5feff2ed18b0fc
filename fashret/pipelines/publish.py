"""Write the results of an evaluation to the run folder: tables, pages, TensorBoard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from fashret.data.items import ItemTable
from fashret.errors import RegressionError
from fashret.evaluation.benchmarks.base import BenchmarkPlan
from fashret.evaluation.embed import EvaluatedSystem
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.head_weights import WeightCurve
from fashret.evaluation.targets import Target
from fashret.models.retriever import Retriever
from fashret.pipelines.systems import System
from fashret.reports.benchmark_table import write_benchmark
from fashret.reports.gallery import Gallery
from fashret.reports.notebook import scoreboard_html
from fashret.reports.page import Page
from fashret.reports.projector import write_projector
from fashret.reports.results import (
    products_by_key,
    write_per_query,
    write_results,
    write_scoreboard,
)
from fashret.reports.scoreboard import Scoreboard


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Options of the report of an evaluation.

    Args:
        gallery: the options of gallery.html; None for none.
        latency: whether to measure the latency of single queries.
        config: the configuration as YAML, for the page.
        commands: the commands that reproduce the run, for the page.
        fail_on_regression: whether a significant regression, or a target that is not met, is an
            error.
    """

    gallery: Gallery | None = None
    latency: bool = False
    config: str = ""
    commands: Sequence[str] = field(default_factory=tuple)
    fail_on_regression: bool = False


@dataclass(frozen=True)
class Published:
    """The published results of an evaluation.

    Attributes:
        scoreboard: the scoreboard of the last split, or of a benchmark.
        metrics: every metric with its interval by key, as in metrics.json.
        files: the names of the main result files.
        page: the path of the report page.
        systems: the system, and after it the baseline if there is one.
        notes: notes for the reader of the numbers.
    """

    scoreboard: Scoreboard
    metrics: Mapping[str, Mapping[str, Any]]
    files: Sequence[str]
    page: Path
    systems: Sequence[EvaluatedSystem]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class PublishedSystem:
    """A system with the results that it left in its run folder.

    Attributes:
        system: the system.
        published: its scoreboard, metrics and files.
    """

    system: System
    published: Published

    @property
    def model(self) -> Retriever:
        """The model with its towers: `encode_image`, `encode_text`.

        Raises:
            ConfigError: the system is a catalog of another model.
        """
        return self.system.towers

    @property
    def scoreboard(self) -> Scoreboard:
        """The headline metrics with verdicts, compared with the baseline if there is one."""
        return self.published.scoreboard

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """The metrics by key, each with value, low, high, n, ceiling and chance."""
        return self.published.metrics

    @property
    def folder(self) -> Path:
        """The folder with the results."""
        return self.system.session.output_dir

    def _repr_html_(self) -> str:
        """The scoreboard as HTML, for notebooks."""
        return scoreboard_html(self.scoreboard)


def publish(
    system: System,
    evaluations: Sequence[Evaluation],
    other: System | None,
    baseline: Sequence[Evaluation] | None,
    *,
    title: str,
    options: ReportOptions,
    latency: Mapping[str, Any] | None,
    against_run: bool = False,
) -> Published:
    """Write the result files, the report and the gallery.

    Args:
        system: the evaluated system.
        evaluations: one per split, or one of a benchmark; the scoreboard shows the last.
        other: the baseline system; None for none.
        baseline: the baseline's evaluations, in the same order; None for none.
        title: the title of the scoreboard.
        options: options of the report.
        latency: the latency of single queries; None if not measured.
        against_run: whether `other` is another run or catalog, not the untrained model.
    """
    session, shown = system.session, evaluations[-1]
    folder = session.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    for evaluation in evaluations:
        results |= evaluation.results()
    before = None if baseline is None else baseline[-1]
    notes: list[str] = []
    targets: Sequence[Target]
    if isinstance(shown.plan, BenchmarkPlan):
        targets = session.benchmark_targets(shown.plan)
        prepared: Sequence[str] = session.table.report["notes"]
        notes = [*(note for note in prepared if ", expected " in note), *shown.plan.notes]
        manifest = system.catalog.manifest
        write_benchmark(
            folder,
            title,
            shown,
            before,
            results,
            session.table,
            model=system.label,
            data=session.source.name,
            catalog=system.catalog.folder,
            encoder={"encoder": manifest["encoder"], "preprocess": manifest["preprocess"]},
            notes=notes,
            latency=latency,
        )
    else:
        targets = session.targets
        write_results(
            folder,
            model=system.label,
            data=session.source.name,
            catalog=system.catalog.folder,
            evaluations=evaluations,
            results=results,
            texts=session.texts(),
            latency=latency,
        )
        write_per_query(folder, session.table, evaluations)
    scoreboard = Scoreboard.from_evaluation(
        title,
        shown,
        results,
        before,
        targets,
        products_by_key(shown),
        against_run=against_run,
    )
    write_scoreboard(folder, scoreboard)
    systems = [_evaluated(system, shown)]
    if other is not None and before is not None:
        systems.append(_evaluated(other, before))
    gallery = None if options.gallery is None else folder / "gallery.html"
    if gallery is not None and options.gallery is not None:
        options.gallery.write(gallery, session.table, systems, title)
    log = folder / "train_log.jsonl"
    page = Page(
        scoreboard=scoreboard,
        systems=systems,
        prepared=session.table.report,
        latency=latency,
        config=options.config,
        commands=options.commands,
        train_log=log if log.exists() else None,
        gallery=gallery,
    )
    files = ["scoreboard.md", "metrics.json", "per_query_results.parquet"]
    if isinstance(shown.plan, BenchmarkPlan):
        files.insert(0, "protocol.md")
    return Published(scoreboard, results, files, page.write(folder / "report"), systems, notes)


def check_regressions(options: ReportOptions, scoreboard: Scoreboard) -> None:
    """Raise an error for regressions and targets that are not met, with `fail_on_regression`.

    Args:
        options: options of the report.
        scoreboard: the scoreboard with its verdicts.

    Raises:
        RegressionError: a metric regressed significantly, or a target is not met.
    """
    if not options.fail_on_regression:
        return
    faults = []
    if scoreboard.regressed:
        names = ", ".join(scoreboard.regressed)
        faults.append(f"significant regressions (p < 0.05, Holm-corrected): {names}")
    if scoreboard.not_met:
        faults.append(f"targets that are not met: {', '.join(scoreboard.not_met)}")
    if faults:
        raise RegressionError("; ".join(faults))


def write_tensorboard(
    writer: SummaryWriter,
    table: ItemTable,
    shown: EvaluatedSystem,
    scoreboard: Scoreboard,
    curves: Sequence[WeightCurve],
    *,
    step: int = 0,
) -> None:
    """Write the scoreboard, the embedding projector and the attribute heads' curves.

    Args:
        writer: the TensorBoard writer.
        table: the items.
        shown: the system whose items are shown in the projector.
        scoreboard: the scoreboard, which is written as text.
        curves: the curve of each attribute head; its x axis is the head's weight in percent.
        step: the global step of text and projector.
    """
    writer.add_text("scoreboard", scoreboard.to_markdown(), step)
    for curve in curves:
        for point in curve.points:
            values = {curve.key: point.value, **point.overall}
            for key, value in values.items():
                name = f"steering_{curve.attribute}/{key.partition('/')[2]}"
                writer.add_scalar(name, value, round(100 * point.weight))
    write_projector(writer, table, shown, step=step)
    writer.flush()


def _evaluated(system: System, evaluation: Evaluation) -> EvaluatedSystem:
    """The system with the embeddings of every item of an evaluation."""
    searches = evaluation.plan.searches.values()
    parts = [rows for one in searches for rows in (one.query_rows, one.gallery_rows)]
    rows = np.unique(np.concatenate([part[part >= 0] for part in parts]))
    return EvaluatedSystem(system.name, evaluation, rows, system.embedded(rows))
