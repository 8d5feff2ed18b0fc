"""Judgments: which items answer a typed query, and how well, from search logs and graded lists."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fashret.data.preparation_report import Report
from fashret.data.splits import SPLITS, split_named, split_of
from fashret.data.tables import SUFFIXES, as_text, read_table
from fashret.errors import ConfigError, DataError

TRANSFORMS = ("linear", "log1p", "rank")
"""What makes a grade of a summed weight."""

_COLUMNS = {
    "query": ("query", "query_text", "search_term", "keyword"),
    "item_id": ("item_id", "item", "product_id", "doc_id", "corpus-id", "corpus_id"),
    "weight": ("weight", "clicks", "grade", "score", "relevance", "label", "purchases"),
    "split": ("split",),
}
"""The names of columns that are understood, the field's own first."""


@dataclass(frozen=True)
class Judgments:
    """Typed queries and their judged items.

    Attributes:
        queries: the Q texts, each in its most frequent spelling.
        splits: the split of each query, "" where none is known.
        query: (P,) long query of each judgment.
        item_id: item of each judgment.
        grade: (P,) float64 grade, at least 0; 0 is judged irrelevant.
        frequency: (Q,) float64 summed weight of each query, before it was transformed.
        dropped: number of rows that were left out, by reason.
    """

    queries: Sequence[str]
    splits: Sequence[str]
    query: NDArray[np.int64]
    item_id: Sequence[str]
    grade: NDArray[np.float64]
    frequency: NDArray[np.float64]
    dropped: Mapping[str, int]


def read_judgments(
    path: str | Path,
    *,
    queries: str | Path | None = None,
    transform: str = "linear",
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Judgments:
    """Read judgments, and sum up those of one query and item.

    Queries that differ in case or spaces alone are one query. A file is a table (CSV, TSV, JSONL,
    parquet) with the columns query, item_id, weight (also called clicks; 1 where there is none) and
    split; or Marqo's ground truth, a JSON object {query: {item id: grade}}; or TREC qrels (query
    id, 0, item id, grade) with a file of query ids and texts; a folder is BEIR's, with
    queries.jsonl and qrels/.

    Args:
        path: the file or folder.
        queries: for TREC qrels, the file of query ids and texts, with a tab between them.
        transform: what makes a grade of a summed weight: `linear`, `log1p` (the logarithm of 1 plus
            it), or `rank` (1 for the smallest weight above 0 of the query, 2 for the next, ...).
        shares: share of each split, for queries without a stated one; None leaves them without.
        seed: seed of the assignment of queries to splits.

    Raises:
        ConfigError: the transform is none of these.
        DataError: the file cannot be read, has no query, or states two splits for one query.
    """
    if transform not in TRANSFORMS:
        raise ConfigError(f"transform={transform}: it must be one of {', '.join(TRANSFORMS)}")
    dropped: Counter[str] = Counter()
    weights: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    stated: dict[str, str] = {}
    for where, text, item, weight, split in _rows(Path(path).expanduser(), queries):
        key = " ".join(text.casefold().split())
        number = _number(weight)
        reason = (
            "empty query" if not key else "no item" if not item
            else "weight is not a number" if number is None
            else "weight below 0" if number < 0 else None
        )  # fmt: skip
        if reason is not None:
            dropped[reason] += 1
            continue
        assert number is not None
        if split:
            known = split_named(split)
            if known is None:
                raise DataError(f"{where}: split {split} is none of {', '.join(SPLITS)}")
            if stated.setdefault(key, known[0]) != known[0]:
                raise DataError(
                    f"{where}: the query '{text}' is in the splits {stated[key]} and {known[0]}; "
                    "a query belongs to one, so that test queries are new"
                )
        weights[key][item] += number
        spellings[key][" ".join(text.split())] += 1
    if not weights:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "no row"
        raise DataError(f"judgments {path}: no row has a query and an item ({reasons})")
    keys = list(weights)
    grades = [_grades(list(weights[key].values()), transform) for key in keys]
    return Judgments(
        queries=[spellings[key].most_common(1)[0][0] for key in keys],
        splits=[
            stated.get(key) or ("" if shares is None else split_of(key, shares, seed))
            for key in keys
        ],
        query=np.repeat(np.arange(len(keys)), [len(weights[key]) for key in keys]),
        item_id=[item for key in keys for item in weights[key]],
        grade=np.concatenate(grades),
        frequency=np.array([sum(weights[key].values()) for key in keys]),
        dropped=dict(dropped),
    )


def frequency_bands(frequency: NDArray[np.float64]) -> NDArray[np.int64]:
    """Divide queries by their frequency: 0 for the head, 1 for the torso, 2 for the tail.

    The head is the smallest set of queries with half of all weight, the tail the queries that have
    the last tenth of it.

    Args:
        frequency: (Q,) float64 weight of each query.

    Returns:
        (Q,) long.
    """
    order = np.argsort(-frequency, kind="stable")
    before = np.cumsum(frequency[order]) - frequency[order]
    share = before / max(float(frequency.sum()), 1e-300)
    bands = np.empty(len(frequency), dtype=np.int64)
    bands[order] = np.where(share < 0.5, 0, np.where(share < 0.9, 1, 2))
    return bands


def _grades(weights: list[float], transform: str) -> NDArray[np.float64]:
    """The grades of a query's items."""
    values = np.array(weights, dtype=np.float64)
    if transform == "log1p":
        return np.log1p(values)
    if transform == "rank":
        positive = np.unique(values[values > 0])
        return np.where(values > 0, 1.0 + np.searchsorted(positive, values), 0.0)
    return values


def _number(value: str) -> float | None:
    """A weight; 1 where there is none, None for what is no finite number."""
    if not value:
        return 1.0
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _rows(path: Path, queries: str | Path | None) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the place, query, item, weight and split of each row, all as text.

    Raises:
        DataError: the file is missing, or has another structure.
    """
    if path.is_dir():
        yield from _beir(path)
    elif not path.is_file():
        raise DataError(f"judgments {path}: file not found; name its new path")
    elif queries is not None:
        yield from _trec(path, Path(queries).expanduser())
    elif path.suffix.lower() == ".json":
        yield from _ground_truth(path)
    elif path.suffix.lower() in (*SUFFIXES, ".parquet"):
        yield from _table(path)
    else:
        raise DataError(
            f"judgments {path}: give a table with the endings {', '.join(SUFFIXES)}, a .json of "
            "{query: {item id: grade}}, TREC qrels with queries=<file of ids and texts>, or a "
            "folder with queries.jsonl and qrels/"
        )


def _table(path: Path) -> Iterator[tuple[str, str, str, str, str]]:
    table = read_table(path, Report(), key="judgments")
    found: dict[str, str | None] = {}
    folded = {name.casefold(): name for name in table.columns}
    for field, names in _COLUMNS.items():
        found[field] = next((folded[name] for name in names if name in folded), None)
    for field in ("query", "item_id"):
        if found[field] is None:
            raise DataError(
                f"judgments {path} has no column {field}; its columns are "
                f"{', '.join(table.columns)}"
            )

    def cell(row: Mapping[str, Any], field: str, where: str) -> str:
        column = found[field]
        return "" if column is None else as_text(row.get(column), column, where)

    for where, row in table.rows:
        query, item, split = (cell(row, f, where) for f in ("query", "item_id", "split"))
        yield where, query, item, _weight(row, found["weight"]), split


def _weight(row: Mapping[str, Any], column: str | None) -> str:
    """A weight as text, whatever number it is; `as_text` cannot take an infinite one."""
    value = None if column is None else row.get(column)
    return "" if value is None else str(value).strip()


def _ground_truth(path: Path) -> Iterator[tuple[str, str, str, str, str]]:
    try:
        raw: Any = json.loads(path.read_text())
    except ValueError as e:
        raise DataError(f"judgments {path} is not JSON: {e}") from e
    if not isinstance(raw, dict) or not all(isinstance(of, dict) for of in raw.values()):
        raise DataError(f"judgments {path} must be a JSON object {{query: {{item id: grade}}}}")
    for query, items in raw.items():
        for item, grade in items.items():
            yield f"{path.name} query '{query}'", str(query), str(item), str(grade), ""


def _trec(path: Path, queries: Path) -> Iterator[tuple[str, str, str, str, str]]:
    if not queries.is_file():
        raise DataError(f"queries={queries}: there is no such file; it holds query ids and texts")
    texts = dict(line.split("\t", 1) for line in queries.read_text().splitlines() if "\t" in line)
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        where = f"{path.name} line {number}"
        if len(fields) != 4:
            raise DataError(f"{where}: qrels have four fields, query id, 0, item id and grade")
        if fields[0] not in texts:
            raise DataError(f"{where}: {queries.name} has no text of query {fields[0]}")
        yield where, texts[fields[0]].strip(), fields[2], fields[3], ""


def _beir(folder: Path) -> Iterator[tuple[str, str, str, str, str]]:
    files = sorted((folder / "qrels").glob("*.tsv"))
    listed = folder / "queries.jsonl"
    if not listed.is_file() or not files:
        raise DataError(f"judgments {folder}: expected queries.jsonl and qrels/<split>.tsv in it")
    texts: dict[str, str] = {}
    for where, row in read_table(listed, Report(), key="judgments").rows:
        texts[as_text(row.get("_id"), "_id", where)] = as_text(row.get("text"), "text", where)
    for path in files:
        for where, row in read_table(path, Report(), key="judgments").rows:
            cells = [str(value).strip() for value in row.values()]
            if len(cells) < 3 or cells[0] not in texts:
                raise DataError(f"{where}: expected query-id, corpus-id and score of a known query")
            yield where, texts[cells[0]], cells[1], cells[2], path.stem
