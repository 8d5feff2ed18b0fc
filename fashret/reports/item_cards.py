"""The facts and thumbnails of items, for HTML pages."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fashret.data.items import ItemTable
from fashret.reports.contact_sheet import thumbnail
from fashret.reports.web import data_uri


def item_facts(table: ItemTable, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Return the id, the text and the known values by attribute of each row of the table."""
    columns = table.dataset.select_columns(["item_id", "text", *table.categorical_columns])[
        list(rows)
    ]
    return [
        {
            "id": columns["item_id"][i],
            "text": columns["text"][i] or "",
            "values": {
                name: columns[name][i]
                for name in table.categorical_columns
                if columns[name][i] not in (None, "", "unknown")
            },
        }
        for i in range(len(rows))
    ]


def thumbnails(table: ItemTable, rows: Sequence[int], side: int) -> list[str]:
    """Return a thumbnail of each row's photo as a data URI.

    Args:
        table: the items.
        rows: rows of the table.
        side: pixels of a thumbnail's longer side.
    """

    def small(row: int) -> str:
        return data_uri(thumbnail(table.photo(row), side))

    if rows:
        table.photo(rows[0])  # opens the column before threads share it
    with ThreadPoolExecutor() as pool:
        return list(pool.map(small, rows))
