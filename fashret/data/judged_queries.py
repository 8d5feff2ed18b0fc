"""Judged queries over an item table: search logs, and triples of composed retrieval."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fashret.data.items import ItemTable
from fashret.data.judgments import Judgments
from fashret.data.preparation_report import Report
from fashret.data.tables import as_text, read_table
from fashret.errors import DataError
from fashret.types import JudgedQueries

log = logging.getLogger(__name__)

_NAMED = 3  # unknown ids that a message names


class Triple(NamedTuple):
    """A composed query and an answer to it.

    Attributes:
        reference: item id of the reference photo.
        text: how the target differs from it.
        target: item id of the target.
    """

    reference: str
    text: str
    target: str


def search_log_queries(judgments: Judgments, table: ItemTable, *, what: str) -> JudgedQueries:
    """Relate the judgments of a search log to the items of a table.

    Args:
        judgments: the typed queries and their judged items.
        table: the item table.
        what: the file, for messages.

    Returns:
        The queries; grades are divided by the largest of each query. Judgments of items that the
        table does not have are left out, and counted in the log.

    Raises:
        DataError: no judgment is of an item of the table.
    """
    rows = {name: row for row, name in enumerate(table.column("item_id"))}
    found = np.array([rows.get(item, -1) for item in judgments.item_id])
    known = found >= 0
    unknown = Counter(i for i, has in zip(judgments.item_id, known, strict=True) if not has)
    _report_unknown(unknown, f"{what}: %d of {len(found)} judgments are")
    notes = [f"{count} rows of the judgments: {why}" for why, count in judgments.dropped.items()]
    for note in notes:
        log.warning("%s: %s", what, note)
    if unknown:
        notes.append(f"{unknown.total()} judgments are of items that are not in the data")
    if not known.any():
        raise DataError(
            f"{what}: none of its {len(found)} judgments is of an item of the data, such as "
            f"{next(iter(rows), 'none')}; it names {', '.join(list(unknown)[:_NAMED])}"
        )
    query, grade = judgments.query[known], judgments.grade[known]
    largest = np.zeros(len(judgments.queries))
    np.maximum.at(largest, query, grade)
    return JudgedQueries(
        texts=judgments.queries,
        splits=judgments.splits,
        query=torch.from_numpy(query),
        row=torch.from_numpy(found[known]),
        grade=torch.from_numpy(grade / np.where(largest > 0, largest, 1.0)[query]),
        frequency=torch.from_numpy(judgments.frequency),
        position=torch.arange(len(judgments.queries)),
        notes=notes,
    )


def queries_of_triples(triples: Sequence[Triple], table: ItemTable, *, what: str) -> JudgedQueries:
    """Relate triples to the items of a table.

    Two targets of one reference and text are two relevant items of one query. A query is in the
    split of its photos.

    Args:
        triples: the triples.
        table: the item table.
        what: the file, for messages.

    Raises:
        DataError: no triple has both of its items in the table.
    """
    rows = {name: row for row, name in enumerate(table.column("item_id"))}
    unknown = Counter(
        name for triple in triples for name in (triple.reference, triple.target) if name not in rows
    )
    _report_unknown(unknown, f"{what}: %d references and targets are")
    targets: dict[tuple[int, str], list[int]] = {}
    for reference, text, target in triples:
        if reference in rows and target in rows:
            targets.setdefault((rows[reference], text), []).append(rows[target])
    if not targets:
        raise DataError(
            f"{what}: none of its {len(triples)} triples has both its reference and its target in "
            f"the data, which has items such as {next(iter(rows), 'none')}"
        )
    splits = {int(row): name for name in table.splits for row in table.rows(name)}
    answers = [sorted(set(found)) for found in targets.values()]
    counts = [len(found) for found in answers]
    return JudgedQueries(
        texts=[text for _, text in targets],
        splits=[splits[reference] for reference, _ in targets],
        query=torch.repeat_interleave(torch.arange(len(targets)), torch.tensor(counts)),
        row=torch.tensor([row for found in answers for row in found]),
        grade=torch.ones(sum(counts), dtype=torch.float64),
        frequency=torch.ones(len(targets), dtype=torch.float64),
        position=torch.arange(len(targets)),
        reference=torch.tensor([reference for reference, _ in targets]),
    )


def read_triples(path: str | Path) -> list[Triple]:
    """Read a table of triples with the columns reference, text and target.

    Args:
        path: a CSV, TSV, JSON lines or parquet file.

    Raises:
        DataError: it cannot be read, lacks a column, or has no complete row.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"triples {file}: there is no such file")
    table = read_table(file, Report(), key="triples")
    folded: Mapping[str, str] = {name.casefold(): name for name in table.columns}
    for field in Triple._fields:
        if field not in folded:
            raise DataError(
                f"triples {file} has no column {field}; its columns are {', '.join(table.columns)}"
            )
    found, incomplete = [], []
    for where, row in table.rows:
        cells = [as_text(row.get(folded[f]), folded[f], where) for f in Triple._fields]
        if all(cells):
            found.append(Triple(*cells))
        else:
            incomplete.append(where)
    if incomplete:
        log.warning(
            "triples %s: %d rows are left out, since they lack a reference, a text or a target "
            "(%s)",
            file,
            len(incomplete),
            ", ".join(incomplete[:_NAMED]),
        )
    if not found:
        raise DataError(f"triples {file}: no row has a reference, a text and a target")
    return found


def _report_unknown(items: Counter[str], message: str) -> None:
    """Log how often items are named that the table lacks, and name some."""
    if items:
        named = ", ".join(list(items)[:_NAMED])
        more = ", ..." if len(items) > _NAMED else ""
        log.warning(
            f"{message} of items that the data does not have (%s%s); they are left out",
            items.total(),
            named,
            more,
        )
