"""Items as pages show them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fashret.data.items import ItemTable
from fashret.reports.contact_sheet import thumbnail
from fashret.reports.web import data_uri


def item_facts(table: ItemTable, rows: Sequence[int]) -> list[dict[str, Any]]:
    """What is known of each row: id, text, values by attribute."""
    held = table.dataset.select_columns(["item_id", "text", *table.categorical_columns])[list(rows)]
    return [
        {
            "id": held["item_id"][i],
            "text": held["text"][i] or "",
            "values": {
                name: held[name][i]
                for name in table.categorical_columns
                if held[name][i] not in (None, "", "unknown")
            },
        }
        for i in range(len(rows))
    ]


def thumbnails(table: ItemTable, rows: Sequence[int], side: int) -> list[str]:
    """Small photos of rows, each as the address of an image within the page."""

    def small(row: int) -> str:
        return data_uri(thumbnail(table.photo(row), side))

    if rows:
        table.photo(rows[0])  # opens the column before threads share it
    with ThreadPoolExecutor() as pool:
        return list(pool.map(small, rows))
