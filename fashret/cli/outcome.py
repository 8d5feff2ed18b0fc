"""Judge a model on one or more splits, and leave the results in the run folder."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter

from fashret.cli.systems import System
from fashret.config import build
from fashret.engine.evaluation import evaluate
from fashret.engine.steering import Curve, steer
from fashret.errors import RegressionError
from fashret.metrics.evaluation import Evaluation
from fashret.reports.gallery import Gallery
from fashret.reports.results import (
    slice_products,
    write_per_query,
    write_results,
    write_scoreboard,
)
from fashret.reports.scoreboard import Scoreboard
from fashret.reports.steering import show_steering, write_steering


def judge(system: System, splits: Sequence[str]) -> list[Evaluation]:
    """Evaluate a system, a split at a time."""
    protocols = [system.setup.protocol(split) for split in splits]
    return [evaluate(protocol, system.embedded(protocol)) for protocol in protocols]


def steered(system: System, split: str, baseline: Evaluation | None) -> list[Curve]:
    """Search with rising weights of the attribute blocks, if there are any; write what comes."""
    setup = system.setup
    if not system.blocks:
        return []
    protocol = setup.protocol(split)
    embedded = system.embedded(protocol)
    asked = {target.metric: target.rise for target in setup.targets if target.rise is not None}
    curves = steer(protocol, embedded, baseline, asked)
    write_steering(setup.output_dir, curves)
    show_steering(curves, _console())
    print(f"written to {setup.output_dir}: steering.md, steering.json")
    return curves


def publish(
    system: System,
    evaluations: Sequence[Evaluation],
    baseline: Sequence[Evaluation] | None,
    *,
    title: str,
) -> Scoreboard:
    """Write the result files and show the scoreboard of the last split.

    Args:
        system: what was judged.
        evaluations: of it, a split each.
        baseline: of what it is compared with, likewise; None if it stands alone.
        title: of the scoreboard.

    Returns:
        What was shown.
    """
    setup = system.setup
    folder = setup.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    for evaluation in evaluations:
        results |= evaluation.results()
    write_results(
        folder,
        model=system.label,
        data=setup.source.name,
        catalog=system.catalog.folder,
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
    scoreboard.show(_console())
    print(f"written to {folder}: scoreboard.md, metrics.json, per_query_results.parquet")
    return scoreboard


def write_gallery(
    system: System, judged: Evaluation, other: System | None, baseline: Evaluation | None
) -> None:
    """Write `gallery.html`, as `gallery` and `report.gallery` say: what queries found."""
    cfg = system.setup.cfg
    if not cfg.gallery:
        return
    shown = [(system.name, judged, system.embedded(judged.protocol))]
    if other is not None and baseline is not None:
        shown.append((other.name, baseline, other.embedded(baseline.protocol)))
    gallery: Gallery = build(cfg.report.gallery)
    path = system.setup.output_dir / "gallery.html"
    title = f"{system.label} on {system.setup.source.name}, {judged.protocol.split}"
    gallery.write(path, system.setup.table, shown, title)
    print(f"what queries find: {path}")


def check_regressions(cfg: DictConfig, scoreboard: Scoreboard) -> None:
    """The last thing that a command does.

    Raises:
        RegressionError: something fell, and `fail_on_regression` is set.
    """
    if cfg.fail_on_regression and scoreboard.regressed:
        raise RegressionError(f"fell by more than luck: {', '.join(scoreboard.regressed)}")


def write_tensorboard(
    writer: SummaryWriter, scoreboard: Scoreboard, curves: Sequence[Curve], *, step: int = 0
) -> None:
    """Show the scoreboard as a text, and each block's curve against its weight in percent."""
    writer.add_text("scoreboard", scoreboard.to_markdown(), step)
    for curve in curves:
        for point in curve.points:
            values = {curve.key: point.value, **point.overall}
            for key, value in values.items():
                name = f"steering_{curve.attribute}/{key.partition('/')[2]}"
                writer.add_scalar(name, value, round(100 * point.weight))
    writer.flush()


def _console() -> Console:
    """The screen; a pipe or a log has no width of its own, and would cut numbers at 80 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=140)
