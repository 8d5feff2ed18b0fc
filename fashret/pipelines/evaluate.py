"""Judge a model on one or more splits, and leave the results in the run folder."""

import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fashret.config import build
from fashret.data.items import ItemTable
from fashret.errors import CheckpointError, RegressionError
from fashret.evaluation.block_weights import Curve, steer
from fashret.evaluation.embed import Judged, evaluate
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.latency import search_latency, text_query_latency
from fashret.pipelines.systems import System
from fashret.reports.block_weights import show_steering, write_steering
from fashret.reports.board_table import show_scoreboard
from fashret.reports.gallery import Gallery
from fashret.reports.page import Page
from fashret.reports.projector import write_projector
from fashret.reports.results import (
    products_behind,
    write_per_query,
    write_results,
    write_scoreboard,
)
from fashret.reports.scoreboard import Scoreboard
from fashret.reports.screen import console

log = logging.getLogger(__name__)


def judge(
    system: System, splits: Sequence[str], *, alongside: System | None = None
) -> list[Evaluation]:
    """Evaluate a system, a split at a time.

    Args:
        system: what is judged.
        splits: whose items ask.
        alongside: the system that it is compared with, whose setup says what is relevant: two
            models may differ in which captions they can tell apart.
    """
    setup = system.setup if alongside is None else alongside.setup
    protocols = [setup.protocol(split) for split in splits]
    return [evaluate(protocol, system.embedded(protocol)) for protocol in protocols]


def latency(system: System, evaluation: Evaluation) -> dict[str, Any] | None:
    """How long a query of an evaluation takes alone: its search, and a text's encoding with it.

    Encoding needs the towers, which are loaded for it; a catalog folder has none.

    Returns:
        what metrics.json holds; None with `latency=false`.
    """
    cfg, protocol = system.setup.cfg, evaluation.protocol
    if not cfg.latency:
        return None
    embedded, options = system.embedded(protocol), protocol.options
    queries, gallery = (
        embedded.image[torch.from_numpy(np.searchsorted(protocol.rows, rows))]
        for rows in (protocol.queries, protocol.catalog)
    )
    k = max(options.k)

    def weighted(asked: Tensor) -> Tensor:
        return embedded.layout.weighted(asked, options.weights or {})

    found: dict[str, Any] = {"device": str(gallery.device), "items": len(gallery)}
    found["search_ms"] = search_latency(weighted(queries), gallery, k)
    texts = system.setup.table.column("text")
    asked = [texts[row] for row in protocol.queries if texts[row]]
    if asked and system.retriever is not None:
        try:
            towers = system.towers
        except CheckpointError as e:
            log.warning("text queries are not timed: %s", e)
        else:
            found["text_query_ms"] = text_query_latency(towers, asked, gallery, k, weighted)
    return found


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
    show_steering(curves, console())
    print(f"written to {setup.output_dir}: steering.md, steering.json")
    return curves


def publish(
    system: System,
    evaluations: Sequence[Evaluation],
    baseline: Sequence[Evaluation] | None,
    *,
    title: str,
    latency: Mapping[str, Any] | None,
    against_run: bool = False,
) -> Scoreboard:
    """Write the result files and show the scoreboard of the last split.

    Args:
        system: what was judged.
        evaluations: of it, a split each.
        baseline: of what it is compared with, likewise; None if it stands alone.
        title: of the scoreboard.
        latency: of single queries; see `latency`.
        against_run: whether `baseline` is of another run or catalog, not of the model untrained.

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
        texts=setup.texts(),
        latency=latency,
    )
    write_per_query(folder, setup.table, evaluations)
    scoreboard = Scoreboard.of(
        title,
        evaluations[-1],
        results,
        None if baseline is None else baseline[-1],
        setup.targets,
        products_behind(evaluations[-1]),
        against_run=against_run,
    )
    write_scoreboard(folder, scoreboard)
    show_scoreboard(scoreboard, console())
    print(f"written to {folder}: scoreboard.md, metrics.json, per_query_results.parquet")
    return scoreboard


def write_pages(
    system: System,
    judged: Evaluation,
    other: System | None,
    baseline: Evaluation | None,
    scoreboard: Scoreboard,
    latency: Mapping[str, Any] | None,
) -> list[Judged]:
    """Write `report/index.html`, and `gallery.html` where `gallery` asks for it.

    Returns:
        what they show: the system, and the one that it is compared with.
    """
    setup = system.setup
    cfg, folder = setup.cfg, setup.output_dir
    shown = [Judged(system.name, judged, system.embedded(judged.protocol))]
    if other is not None and baseline is not None:
        shown.append(Judged(other.name, baseline, other.embedded(baseline.protocol)))
    gallery = folder / "gallery.html" if cfg.gallery else None
    if gallery is not None:
        maker: Gallery = build(cfg.report.gallery)
        maker.write(gallery, setup.table, shown, scoreboard.title)
    log = folder / "train_log.jsonl"
    page = Page(
        scoreboard=scoreboard,
        systems=shown,
        prepared=setup.table.report,
        latency=latency,
        config=OmegaConf.to_yaml(cfg, resolve=True),
        commands=_commands(folder, trained=log.exists()),
        train_log=log if log.exists() else None,
        gallery=gallery,
    )
    print(f"look at it: {page.write(folder / 'report')}")
    return shown


def _commands(folder: Path, *, trained: bool) -> list[str]:
    """The command that is running, as it can be typed again, and how to judge its run again."""
    commands = []
    if HydraConfig.initialized():
        hydra = HydraConfig.get()
        words = ["python", f"{hydra.job.config_name}.py", *hydra.overrides.task]
        commands.append(shlex.join(words))
    if trained:
        commands.append(shlex.join(["python", "evaluate.py", f"run={folder}", "gallery=true"]))
    return commands


def check_regressions(cfg: DictConfig, scoreboard: Scoreboard) -> None:
    """Fail a command whose results may not be released, where `fail_on_regression` asks for it.

    Raises:
        RegressionError: a metric regressed, or a target is not met.
    """
    if not cfg.fail_on_regression:
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
    shown: Judged,
    scoreboard: Scoreboard,
    curves: Sequence[Curve],
    *,
    step: int = 0,
) -> None:
    """Show the scoreboard as a text, items in the projector, and each block's curve.

    A curve is drawn against the block's weight in percent.
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
