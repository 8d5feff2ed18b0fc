"""A table of one's own: a row is an item, with one photo or several, by its columns."""

from collections.abc import Iterator, Mapping, Sequence

from fashret.data.columns import LEFT_OUT, ColumnMap
from fashret.data.feeds.markup import lines_of
from fashret.data.feeds.offer import Offer, Rows, photos_in
from fashret.data.preparation_report import Report


def offers(
    rows: Rows,
    report: Report,
    *,
    columns: ColumnMap,
    attributes: Sequence[str],
    split_names: Mapping[str, str | None],
) -> Iterator[Offer]:
    """Read the offers of a table.

    A row without an id is named by its first photo, and one without a product has none.
    """
    for where, row in rows:
        report.rows_in += 1
        photos = photos_in(row.get(columns.fields["image"]))
        split, role = columns.split(row, split_names, where)
        if split == LEFT_OUT:
            report.drop("split left out by data.split_names", where)
            continue
        item = columns.text(row, "item_id", where) or (photos[0] if photos else where)
        values = {name: columns.text(row, name, where) for name in attributes}
        yield Offer(
            columns.text(row, "product_id", where),
            item,
            photos,
            " ".join(lines_of(columns.text(row, "text", where))),
            category=columns.text(row, "category", where),
            values={name: value for name, value in values.items() if value},
            where=where,
            split=split,
            role=role,
        )
