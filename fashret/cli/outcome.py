"""Judge a model on one or more splits, and leave the results in the run folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from fashret.catalog.store import Catalog
from fashret.cli.setup import Setup
from fashret.engine.evaluation import evaluate
from fashret.errors import RegressionError
from fashret.metrics.evaluation import Evaluation
from fashret.models.retriever import Retriever
from fashret.reports.results import (
    slice_products,
    write_per_query,
    write_results,
    write_scoreboard,
)
from fashret.reports.scoreboard import Scoreboard


def judge(
    setup: Setup, retriever: Retriever, catalog: Catalog, splits: Sequence[str]
) -> list[Evaluation]:
    """Evaluate a model over a catalog's features, a split at a time."""
    return [
        evaluate(retriever, catalog, setup.table, setup.codes, setup.protocol(split))
        for split in splits
    ]


def untrained(catalog: Catalog, setup: Setup) -> Retriever:
    """The model that a catalog was made with: its heads over its features."""
    return Retriever(*catalog.heads).eval().to(setup.device)


def publish(
    setup: Setup,
    catalog: Catalog,
    evaluations: Sequence[Evaluation],
    baseline: Sequence[Evaluation] | None,
    *,
    title: str,
) -> Mapping[str, Mapping[str, Any]]:
    """Write the result files and show the scoreboard of the last split.

    Args:
        setup: of the command.
        catalog: that was searched.
        evaluations: of the model, a split each.
        baseline: of the untrained model, likewise; None if that is what was judged.
        title: of the scoreboard.

    Returns:
        The results by key.

    Raises:
        RegressionError: something fell, and `fail_on_regression` is set; all files are written.
    """
    folder = setup.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    for evaluation in evaluations:
        results |= evaluation.results()
    write_results(
        folder,
        model=setup.spec.label,
        data=setup.source.name,
        catalog=catalog.folder,
        evaluations=evaluations,
        results=results,
    )
    write_per_query(folder, setup.table, evaluations)
    scoreboard = Scoreboard.of(
        title,
        evaluations[-1],
        results,
        None if baseline is None else baseline[-1],
        setup.targets,
        slice_products(evaluations[-1].protocol, results),
    )
    write_scoreboard(folder, scoreboard)
    console = Console()
    # A pipe or a log has no width of its own; rich would cut the numbers to fit 80 columns.
    scoreboard.show(console if console.is_terminal else Console(width=140))
    print(f"written to {folder}: scoreboard.md, metrics.json, per_query_results.parquet")
    if setup.cfg.fail_on_regression and scoreboard.regressed:
        raise RegressionError(f"fell by more than luck: {', '.join(scoreboard.regressed)}")
    return results
