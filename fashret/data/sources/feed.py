"""A product feed as a shop exports it: Shopify, WooCommerce, Google Merchant, or a table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fashret.cache import default_cache_dir
from fashret.data.columns import ColumnMap
from fashret.data.downloads import FAILURES, Fetch, fetch_photos, photo_file
from fashret.data.feeds import plain_table
from fashret.data.feeds.kinds import KINDS, TABLE, kind_of
from fashret.data.feeds.merchant import xml_rows
from fashret.data.feeds.offer import Offer, plain_rows
from fashret.data.feeds.variants import item_ids, merged, without_shared_lines
from fashret.data.photo_paths import photo_below
from fashret.data.preparation_report import Report
from fashret.data.source import Item, Source
from fashret.data.tables import Table, read_table
from fashret.errors import ConfigError, DataError

PARTS = ("title", "description")

_PHOTOS = ("image src", "image_link", "image link", "images")
"""Columns of photos, by which swallowed rows are found."""


@dataclass(kw_only=True)
class Feed(Source):
    """The products of a feed, one item for each photo.

    The photos of a product's variants that differ in size alone are one item's; colours are items
    of one product. Photos are files, or URLs, which are fetched once (`data.fetch`).

    Args:
        table: the file: CSV, TSV, JSON lines, parquet, or XML (RSS or Atom).
        kind: shopify, woocommerce, merchant or table; null for what the columns tell.
        columns: column by field, for a table of one's own.
        split_names: what a table's names of splits mean, where they are not understood: train,
            validation, test, query, gallery, or null to leave one out.
        root: the folder of photos that the feed names as files; null for the folder of the file.
        encoding: of a text file; null for UTF-8, or UTF-16 with its byte order mark.
        text: the parts of an item's text, of title and description.
        variant: the values that make variants of one product different items.
        photos: the folder of fetched photos; null for the cache.
        fetch: how photos are fetched.
    """

    name: str = ""
    table: str
    kind: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    split_names: Mapping[str, str | None] = field(default_factory=dict)
    root: str | None = None
    encoding: str | None = None
    text: Sequence[str] = ("title",)
    variant: Sequence[str] = ("colour",)
    photos: str | None = None
    fetch: Fetch = field(default_factory=Fetch)

    def __post_init__(self) -> None:
        self.name = self.name or Path(self.table).name
        super().__post_init__()
        if self.kind not in (None, TABLE, *KINDS):
            raise ConfigError(f"data.kind={self.kind}: must be null, {', '.join(KINDS)} or {TABLE}")
        if not self.text or set(self.text) - set(PARTS):
            raise ConfigError(f"data.text={list(self.text)}: parts are {', '.join(PARTS)}")

    def identity(self) -> dict[str, Any]:
        """How the file is read."""
        return {
            "kind": self.kind,
            "columns": dict(self.columns),
            "split_names": dict(self.split_names),
            "encoding": self.encoding,
            "text": list(self.text),
            "variant": list(self.variant),
        }

    def files(self) -> Iterator[tuple[str, str | Path]]:
        """The file and its photos, which are fetched first where they are not there yet."""
        yield "table", self._path
        failed = self._fetched
        for offer in self._offers:
            for photo in offer.photos:
                if _is_url(photo):
                    if photo not in failed:
                        yield photo, photo_file(self._folder, photo)
                elif (path := photo_below(self._root, photo)) is not None:
                    yield photo, path

    def items(self, report: Report) -> Iterator[Item]:
        """An item for each photo of a product's variants."""
        offers, read = self._offers, self._report
        report.include(read)
        # What is counted from here on are photos, of which a row may have none or several.
        report.rows_in -= read.rows_in - sum(read.dropped.values())
        for offer, ids in zip(offers, item_ids(offers), strict=True):
            report.rows_in += max(1, len(offer.photos))
            if not offer.photos:
                report.drop("no image named", f"{offer.where}: {offer.item_id}")
                continue
            for item_id, photo in zip(ids, offer.photos, strict=True):
                item = self._item(offer, item_id, photo, report)
                if item is not None:
                    yield item

    def _item(self, offer: Offer, item_id: str, photo: str, report: Report) -> Item | None:
        if _is_url(photo):
            if (reason := self._fetched.get(photo)) is not None:
                report.drop(f"photo not fetched: {reason}", f"{offer.where}: {photo}")
                return None
            path = photo_file(self._folder, photo)
        else:
            below = photo_below(self._root, photo)
            if below is None:
                report.drop("image outside data.root", f"{offer.where}: {photo}")
                return None
            path = below
        stated = {name: offer.values[name] for name in self.attributes if name in offer.values}
        if self.parser is not None:  # as it would be read from a text: Red is red
            stated = {n: self.parser.value(n, value) or value for n, value in stated.items()}
        parts = {"title": offer.title, "description": ". ".join(offer.description)}
        return Item(
            item_id=item_id,
            image=path,
            text=". ".join(parts[name] for name in self.text if parts[name]),
            category=offer.category or "unknown",
            product_id=offer.product_id or None,
            names=() if offer.product_id else (photo, offer.item_id),
            attributes=stated,
            split=offer.split,
            role=offer.role,
            origin=offer.where,
        )

    @cached_property
    def _offers(self) -> Sequence[Offer]:
        """What the feed offers, with the sizes of a variant as one."""
        table = self._read()
        where, report = f"data.table={self.table}", self._report
        given = self.kind or (TABLE if any(self.columns.values()) else None)
        kind = kind_of(table.columns, given, where)
        if kind == TABLE:
            columns = ColumnMap.match(table.columns, self.columns, self.attributes, where=where)
            columns.report(report, self.attributes)
            read = plain_table.offers(
                table.rows,
                report,
                columns=columns,
                attributes=self.attributes,
                split_names=self.split_names,
            )
            # The photos of a row show one product, also where nobody gave it an id.
            found = [self._of_a_product(o) if len(o.photos) > 1 else o for o in read]
        else:
            read = map(self._of_a_product, KINDS[kind][1](plain_rows(table.rows), report))
            found = without_shared_lines(merged(read, self.variant, report), report)
        if not found:
            raise DataError(f"data.table={self.table} offers nothing: {report.summary()}")
        products = len({offer.product_id or offer.item_id for offer in found})
        photos = sum(len(offer.photos) for offer in found)
        report.note(f"{products} products, {len(found)} variants, {photos} photos")
        return found

    def _of_a_product(self, offer: Offer) -> Offer:
        """The offer, as a product of its own where that of its product is not known."""
        is_unknown = not offer.product_id or self.means_unknown(offer.product_id)
        return replace(offer, product_id=f"id:{offer.item_id}") if is_unknown else offer

    @cached_property
    def _report(self) -> Report:
        return Report()

    @cached_property
    def _fetched(self) -> Mapping[str, str]:
        """Why photos were not fetched, by URL."""
        urls = [photo for offer in self._offers for photo in offer.photos if _is_url(photo)]
        if not urls:
            return {}
        failed = fetch_photos(urls, self._folder, self.fetch)
        photos = sum(len(offer.photos) for offer in self._offers)
        if len(failed) == len(set(urls)) and len(urls) == photos:
            first = next(iter(failed))
            raise DataError(
                f"data.table={self.table}: none of its {len(failed)} photos could be fetched; "
                f"{first}: {failed[first]}; {self._folder / FAILURES} lists what was refused"
            )
        return failed

    def _read(self) -> Table:
        path = self._path
        if path.name.lower().endswith((".xml", ".xml.gz")):
            rows = list(xml_rows(path))
            columns = list(dict.fromkeys(name for _, row in rows for name in row))
            return Table(columns, columns, rows)
        names = (self.columns.get("image") or "image", *_PHOTOS)
        return read_table(
            path, self._report, key="data.table", encoding=self.encoding, photos=names
        )

    @property
    def _path(self) -> Path:
        path = Path(self.table).expanduser()
        if not path.is_file():
            raise DataError(f"data.table={self.table}: file not found")
        return path

    @property
    def _root(self) -> Path:
        return self._path.parent if self.root is None else Path(self.root).expanduser()

    @property
    def _folder(self) -> Path:
        """The folder of fetched photos."""
        folder = default_cache_dir() / "photos" if self.photos is None else Path(self.photos)
        return folder.expanduser()


def _is_url(photo: str) -> bool:
    return photo[:8].casefold().startswith(("http://", "https://"))
