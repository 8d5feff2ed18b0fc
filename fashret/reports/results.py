"""The result files of an evaluation: metrics, metrics by value, and the ranking of each query."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fashret.data.items import ItemTable
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.split_search import SplitSearch
from fashret.reports.atomic_write import write_text
from fashret.reports.scoreboard import Scoreboard
from fashret.tasks.base import NO_ROW, Search
from fashret.types import UNKNOWN

FORMAT = 1

Results = Mapping[str, Mapping[str, Any]]


def write_results(
    folder: Path,
    *,
    model: str,
    data: str,
    catalog: Path,
    evaluations: Sequence[Evaluation],
    results: Results,
    texts: Mapping[str, int] | None = None,
    latency: Mapping[str, Any] | None = None,
) -> None:
    """Write metrics.json and one metrics_by_<attribute>.json for each sliced attribute.

    Args:
        folder: the folder to write to.
        model: the label of the model.
        data: the name of the data set.
        catalog: the folder of the catalog.
        evaluations: the evaluations of one or more splits with the same options.
        results: the metrics of all of them, by key.
        texts: the number of texts that the model truncates; None if not known.
        latency: the latency of single queries in milliseconds; None if not measured.
    """
    plans = [_split_search(evaluation) for evaluation in evaluations]
    options = plans[0].options.to_dict()
    searched = {
        plan.split: {
            "queries": len(plan.queries),
            "items": len(plan.gallery),
            "catalog_splits": list(options["catalog_splits"] or [plan.split]),
            "imputed_texts": _imputed_texts(plan),
            "without_relevant_item": evaluation.unanswerable(),
        }
        for plan, evaluation in zip(plans, evaluations, strict=True)
    }
    _write_json(
        folder / "metrics.json",
        {
            "format": FORMAT,
            "model": model,
            "data": data,
            "catalog": str(catalog.resolve()),
            "retrieval": options,
            "searched": searched,
            "texts": texts,
            "latency": latency,
            "metrics": results,
        },
    )
    for attribute in plans[0].described:
        values: dict[str, dict[str, Any]] = {}
        for key, result in results.items():
            if f"/{attribute}/" in key and key.endswith("]"):
                values.setdefault(key.partition("[")[2][:-1], {})[key] = dict(result)
        if values:
            _write_json(folder / f"metrics_by_{attribute}.json", values)


def _split_search(evaluation: Evaluation) -> SplitSearch:
    assert isinstance(evaluation.plan, SplitSearch)
    return evaluation.plan


def _imputed_texts(plan: SplitSearch) -> int:
    """The number of gallery items without a text, whose text embedding is imputed."""
    return int((plan.codes.caption[torch.from_numpy(plan.gallery)] == UNKNOWN).sum())


def write_scoreboard(folder: Path, scoreboard: Scoreboard) -> None:
    """Write scoreboard.md and scoreboard.json."""
    write_text(folder / "scoreboard.md", scoreboard.to_markdown())
    _write_json(folder / "scoreboard.json", scoreboard.to_dict())


def write_per_query(folder: Path, table: ItemTable, evaluations: Sequence[Evaluation]) -> None:
    """Write per_query_results.parquet: the ranking and its hits, one row per query and mode."""
    ids = table.column("item_id")
    frames = []
    for evaluation in evaluations:
        plan = _split_search(evaluation)
        for mode, ranking in evaluation.rankings.items():
            search, judged = plan.searches[mode], plan.judged.get(mode)
            relevances = plan.relevances(mode) if judged is None else ("judged",)
            stem = mode if judged is None else judged.name
            rows, scores = ranking.rows.tolist(), ranking.scores.tolist()
            lengths = [sum(row >= 0 for row in ranked) for ranked in rows]
            columns: dict[str, Any] = {
                "query_id": _query_ids(search, ids),
                "mode": stem if judged is None else judged.task_name,
                "split": plan.split,
                "retrieved_ids": [
                    [ids[plan.gallery[row]] for row in ranked[:n]]
                    for ranked, n in zip(rows, lengths, strict=True)
                ],
                "scores": [ranked[:n] for ranked, n in zip(scores, lengths, strict=True)],
            }
            for relevance in relevances:
                hits = evaluation.hits(f"{stem}/{relevance}").tolist()
                columns[f"hits_{relevance}"] = [
                    ranked[:n] for ranked, n in zip(hits, lengths, strict=True)
                ]
            frames.append(pd.DataFrame(columns))
    path = folder / "per_query_results.parquet"
    partial = path.with_suffix(".partial")
    pd.concat(frames, ignore_index=True).to_parquet(partial, index=False)
    os.replace(partial, path)


def _query_ids(search: Search, ids: Sequence[str]) -> list[str]:
    """The id of each query: an item's, a typed text, or both of a composed query."""
    if search.query_names is None:
        return [ids[row] for row in search.query_rows]
    named = zip(search.query_rows.tolist(), search.query_names, strict=True)
    return [name if row == NO_ROW else f"{ids[row]}: {name}" for row, name in named]


def products_by_key(evaluation: Evaluation) -> dict[str, int]:
    """Count the products among the queries of each metric and slice, by key.

    An item without a product id counts as a product.
    """
    counts: dict[str, int] = {}
    for key, column in evaluation.columns.items():
        groups = evaluation.search(key).groups
        singleton_id = int(groups.max().clamp(min=0)) + 1 + torch.arange(len(groups))
        products = torch.where(groups == UNKNOWN, singleton_id, groups)
        counted = ~column.values.isnan()
        counts[key] = len(products[counted].unique())
        if key in evaluation.slices:
            codes, values = evaluation.slices[key]
            pairs = torch.stack([codes[counted], products[counted]], dim=1).unique(dim=0)
            numbers = torch.bincount(pairs[pairs[:, 0] != UNKNOWN, 0], minlength=len(values))
            named = zip(values, numbers.tolist(), strict=True)
            counts |= {f"{key}[{value}]": number for value, number in named}
    return counts


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")
