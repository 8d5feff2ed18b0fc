"""Manual corrections of items (`data.overrides`), applied when a data set is prepared."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fashret.data.preparation_report import Report
from fashret.data.source import Item, Source
from fashret.data.tables import read_table
from fashret.errors import DataError

DROP = "drop"
FIELDS = ("text", "category", "product_id")


@dataclass(frozen=True)
class Overrides:
    """Manual corrections by item, which take precedence over the data set and its texts.

    Attributes:
        path: path of the file, as the user gave it; None without one.
        rows: corrected values by field, by item id; `drop` is "yes" for an item to leave out.
    """

    path: str | None = None
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def from_source(cls, source: Source) -> "Overrides":
        """Read `data.overrides`: a CSV with a column item_id and columns of corrected values.

        An empty cell leaves a value unchanged; `unknown` removes it.

        Raises:
            DataError: no such file, a column that is no field, an item twice or without an id, or
                a cell of `drop` that is not yes.
        """
        if source.overrides is None:
            return cls()
        path = Path(source.overrides).expanduser()
        where = f"data.overrides={source.overrides}"
        if not path.is_file():
            raise DataError(f"{where}: file not found; `fashret-view` makes one to fill in")
        report = Report()
        table = read_table(path, report, key="data.overrides")
        if report.dropped:
            raise DataError(f"{where}: {', '.join(report.to_dict()['examples'].popitem()[1])}")
        known = ("item_id", DROP, *FIELDS, *source.attributes)
        unknown = [name for name in table.columns if name not in known]
        if unknown or "item_id" not in table.columns:
            raise DataError(
                f"{where}: {', '.join(unknown) or 'without a column item_id'}; the columns are "
                f"{', '.join(known)}"
            )
        rows: dict[str, Mapping[str, str]] = {}
        for line, cells in table.rows:
            given = {name: str(cell).strip() for name, cell in cells.items()}
            item = given.pop("item_id")
            if not item or item in rows:
                what = f"{item} occurs twice" if item else "no item_id"
                raise DataError(f"{where}: {line}: {what}")
            if given.get(DROP, "") not in ("", "yes"):
                raise DataError(f"{where}: {line}: drop is {given[DROP]}: yes, or empty")
            rows[item] = {
                name: "unknown" if name != "text" and source.means_unknown(cell) else cell
                for name, cell in given.items()
                if cell
            }
        return cls(source.overrides, rows)

    def identity(self) -> list[str]:
        """Hash the corrections for the cache key; empty if there are none."""
        if not any(self.rows.values()):
            return []
        return [hashlib.blake2b(repr(sorted(self.rows.items())).encode()).hexdigest()]

    def apply(self, item: Item, report: Report) -> bool:
        """Correct an item in place, and return whether it is kept."""
        corrected = self.rows.get(item.item_id)
        if not corrected:
            return True
        where = item.origin or item.item_id
        if corrected.get(DROP):
            report.drop("left out by hand", where)
            return False
        fields = {name: corrected[name] for name in FIELDS if name in corrected}
        for name, value in fields.items():
            setattr(item, name, None if (name, value) == ("product_id", "unknown") else value)
        values = {name: value for name, value in corrected.items() if name not in fields}
        item.attributes = {**item.attributes, **values}
        item.by_hand = frozenset(corrected)
        report.repair("corrected by hand", where)
        return True
