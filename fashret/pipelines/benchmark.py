"""Judge a system by an official protocol."""

from collections.abc import Sequence

import torch
from omegaconf import DictConfig

from fashret.config import build
from fashret.data.codes import ItemCodes
from fashret.errors import ConfigError
from fashret.evaluation.benchmarks.base import OfficialProtocol, Stage
from fashret.evaluation.embed import embed_texts
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.split_search import Protocol
from fashret.pipelines.held_out import check_held_out
from fashret.pipelines.session import check_composed
from fashret.pipelines.systems import System, compared_system, judged_system, split_to_judge
from fashret.reports.benchmark_table import OfficialTable
from fashret.reports.screen import console
from fashret.tasks.base import Outcome


def judge_officially(cfg: DictConfig) -> None:
    """The table that a protocol's papers print, on the screen and in the run folder.

    Raises:
        ConfigError: an option that protocols do not have, or data of another kind.
    """
    check_composed(cfg, "evaluate")
    for key in ("queries", "gallery", "quick", "fail_on_regression"):
        if cfg[key]:
            raise ConfigError(f"{key}={cfg[key]} is not of protocol=: it judges whole splits alone")
    system = judged_system(cfg)
    cfg.split = split_to_judge(cfg, system.setup)  # which protocols' own `split` may refer to
    other, name = compared_system(cfg, system)
    setup = system.setup
    protocol: OfficialProtocol = build(cfg.protocol)
    for each in (system, other):
        if each is not None:
            check_held_out(each, protocol.split, allowed=cfg.allow_trained_items)
    if not setup.team.only_first():
        return
    options: RetrievalOptions = build(setup.cfg.retrieval)
    table = OfficialTable(
        protocol,
        _outcomes(system, protocol, options, setup.codes),
        None if other is None else _outcomes(other, protocol, options, setup.codes),
        resamples=options.resamples,
        seed=options.seed,
        notes=[note for note in setup.table.report["notes"] if ", expected " in note],
    )
    title = f"{name}: {protocol.name} on {setup.source.name}, {protocol.split or 'all splits'}"
    manifest = system.catalog.manifest
    table.write(
        setup.output_dir,
        title,
        model=system.label,
        data=setup.source.name,
        catalog=system.catalog.folder,
        encoder={"encoder": manifest["encoder"], "preprocess": manifest["preprocess"]},
    )
    table.show(console(), title)
    written = "protocol.md, metrics.json, per_query_results.parquet"
    print(f"written to {setup.output_dir}: {written}")


def _outcomes(
    system: System, protocol: OfficialProtocol, options: RetrievalOptions, codes: ItemCodes
) -> list[Outcome]:
    """What a system makes of each task."""
    setup = system.setup
    rows = setup.rows(protocol.split)
    whole = Protocol("all", options, rows, rows, codes, setup.table.described)
    embedded = system.embedded(whole)
    weights = options.weights or {}

    def new_texts(texts: Sequence[str]) -> torch.Tensor:
        parts = [texts[i : i + 256] for i in range(0, len(texts), 256)]
        return torch.cat([embed_texts(system.towers, part) for part in parts]).cpu()

    stage = Stage(
        table=setup.table,
        codes=codes,
        rows=rows,
        image=embedded.image.cpu(),
        text=embedded.text.cpu(),
        embed_texts=new_texts,
        weighted=lambda asked: embedded.layout.weighted(asked, weights),
    )
    return [Outcome.of(task) for task in protocol.tasks(stage)]
