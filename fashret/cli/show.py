"""Show results on the screen."""

from collections.abc import Sequence
from pathlib import Path

from fashret.evaluation.benchmarks.base import BenchmarkPlan
from fashret.evaluation.head_weights import WeightCurve
from fashret.pipelines.publish import Published
from fashret.reports.benchmark_table import show_benchmark
from fashret.reports.board_table import show_scoreboard
from fashret.reports.head_weights import show_weight_curves
from fashret.reports.screen import console


def show(published: Published, curves: Sequence[WeightCurve], folder: Path) -> None:
    """Print the tables of an evaluation, and where its files are.

    Args:
        published: what was left in the run folder.
        curves: of attribute heads; empty for none.
        folder: the run folder.
    """
    screen, shown = console(), published.systems[0].evaluation
    if isinstance(shown.plan, BenchmarkPlan):
        show_benchmark(shown, published.scoreboard.title, published.notes, screen)
    show_scoreboard(published.scoreboard, screen)
    print(f"written to {folder}: {', '.join(published.files)}")
    print(f"look at it: {published.page}")
    if curves:
        show_weight_curves(curves, screen)
        print(f"written to {folder}: steering.md, steering.json")
