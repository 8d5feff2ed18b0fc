"""A search log and triples over the items of a prepared table."""

from pathlib import Path

from fashret.data.items import ItemTable
from support.commands import SMALL, session_of


def small_table(cache_dir: Path) -> ItemTable:
    """The prepared table of the small sample."""
    where = [f"paths.cache_dir={cache_dir}", "paths.output_dir=none"]
    return session_of("evaluate", [*SMALL, *where]).table


def write_log(path: Path, table: ItemTable) -> Path:
    """Colours and categories are asked, and clicked where they fit; one item is unknown."""
    columns = [table.column(name) for name in ("item_id", "colour", "category")]
    rows = ["query,item_id,clicks,split"]
    for number, (item, colour, category) in enumerate(zip(*columns, strict=True)):
        rows.append(f"{colour} {category},{item},{1 + number % 5},")
        rows.append(f"{category},{item},{number % 3},")
    path.write_text("\n".join([*rows, "denim,gone,3,train"]))
    return path


def write_triples(path: Path, table: ItemTable) -> Path:
    """Every item asks for the next one of its split."""
    ids, colours = table.column("item_id"), table.column("colour")
    rows = ["reference,text,target"]
    for split in table.splits:
        own = table.rows(split).tolist()
        for one, other in zip(own, [*own[1:], own[0]], strict=True):
            rows.append(f"{ids[one]},in {colours[other]},{ids[other]}")
    path.write_text("\n".join(rows))
    return path
