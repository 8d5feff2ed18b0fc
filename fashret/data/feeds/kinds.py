"""The kinds of feeds that are known, and how a file's kind is told."""

from collections.abc import Sequence

from fashret.data.feeds import merchant, shopify, woocommerce
from fashret.data.feeds.offer import Reader, plain
from fashret.errors import DataError

KINDS: dict[str, tuple[Sequence[str], Reader]] = {
    "shopify": (shopify.COLUMNS, shopify.offers),
    "woocommerce": (woocommerce.COLUMNS, woocommerce.offers),
    "merchant": (merchant.COLUMNS, merchant.offers),
}
"""The columns that tell a kind, and what reads it."""

TABLE = "table"
"""The kind of a table of one's own, whose columns `data.columns` names."""

TITLES = {
    TABLE: "table, a row an item",
    "shopify": "Shopify product export",
    "woocommerce": "WooCommerce product export",
    "merchant": "Google Merchant or Facebook product feed",
}


def kind_of(columns: Sequence[str], given: str | None, where: str) -> str:
    """Return the kind of a feed.

    Args:
        columns: the columns of the file.
        given: the kind that the user names; None for that of the columns.
        where: the file, for messages.

    Raises:
        DataError: the columns are those of no kind, or not those of the given one.
    """
    if given == TABLE:
        return TABLE
    present = {plain(column) for column in columns}

    def lacking(kind: str) -> list[str]:
        return [column for column in KINDS[kind][0] if plain(column) not in present]

    if given is not None:
        if missing := lacking(given):
            raise DataError(f"data.kind={given}: {where} has no column {', '.join(missing)}")
        return given
    for kind in KINDS:
        if not lacking(kind):
            return kind
    if "image" in present:
        return TABLE
    known = "; ".join(f"{TITLES[kind]}: {', '.join(needed)}" for kind, (needed, _) in KINDS.items())
    raise DataError(
        f"{where} is no feed that is known by its columns ({known}); it has "
        f"{', '.join(map(str, list(columns)[:12]))}. Say which column has the photos: "
        "data.columns.image=<column>, data.columns.text=<column> and so on"
    )
