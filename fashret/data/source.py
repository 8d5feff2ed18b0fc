"""Base class of data sources, and the items that they yield."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fashret.cpu import cores
from fashret.data.attribute_parser import Schema
from fashret.data.augment import Augment
from fashret.data.balance import Balance
from fashret.data.caption_templates import Captions
from fashret.data.items import ItemTable
from fashret.data.judged_queries import (
    Triple,
    queries_of_triples,
    read_triples,
    search_log_queries,
)
from fashret.data.judgments import TRANSFORMS, read_judgments
from fashret.data.preparation_report import Report
from fashret.data.product_batches import ProductBatches
from fashret.data.product_grouping import STATED, Grouping
from fashret.data.splits import SPLITS
from fashret.data.unknown_values import UNKNOWN_VALUES
from fashret.errors import ConfigError, DataError
from fashret.types import JudgedQueries


@dataclass
class Item:
    """One photo with its text, category, product and attributes, as a source reads it.

    Attributes:
        item_id: id of the item, unique in the data set.
        image: path of the photo's file, or its encoded bytes.
        text: caption or title, "" where there is none.
        category: category of the garment, "unknown" where it is not known.
        product_id: id shared by the photos of one product; None where it is not known.
        product_confidence: confidence of the product id, 0 to 1.
        attributes: values by attribute; a missing attribute is unknown.
        split: train, validation or test; None where the data set does not state a split.
        split_group: items of one group are in the same split; the product by default.
        role: query or gallery, for a data set with an official evaluation protocol; else None.
        truth: true attribute values, where the data set has them; only used to measure extraction
            from texts, never for training.
        names: names from which a product may be inferred: the photo's path below the root, and
            the item's id in the data set. Ids that the source generates are not among them.
        by_hand: names of the fields that a person corrected, which are never overwritten.
        origin: file and line, or the like, of the item in the source, for messages.
    """

    item_id: str
    image: Path | bytes
    text: str = ""
    category: str = "unknown"
    product_id: str | None = None
    product_confidence: float = STATED
    attributes: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    split_group: str | None = None
    role: str | None = None
    truth: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    by_hand: frozenset[str] = frozenset()
    origin: str = ""


ATTRIBUTES = ("material", "pattern", "neckline", "sleeve", "colour", "gender")
"""The attributes that the word list `fashion` extracts from texts."""

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""Shares of the splits of a data set without splits of its own."""

TIERS = {"medium": ["material"], "weak": ["pattern", "neckline", "sleeve"]}
"""The attributes that make two items of a category a medium, or a weak pair."""


@dataclass(kw_only=True)
class Source(ABC):
    """A set of items, and how they are split and read.

    Args:
        name: the set; stands in results and, shortened, in the cache's folder names.
        attributes: the attribute columns of the item table.
        splits: shares of train, validation and test, for a set without splits of its own.
        seed: seed of items that the source generates.
        split_seed: seed of the assignment of products to splits.
        batch_size: number of items in a batch of one process, at least 1.
        num_workers: number of processes that decode photos; null for the number of available cores,
            at most 16.
        augment: augmentation of training photos.
        captions: captions from templates for training, besides the items' own texts; null for none.
        balance: sampling weights by value for training; null draws every item once per epoch.
        batch: composition of batches of several photos per product (task=product, task=street).
        tiers: names of the attributes that make two items of a category a `medium` and a `weak`
            pair, for losses and miners of pairs; attributes that the data lacks are ignored.
        groups: rules that group photos into products if the data set has no product ids; null
            leaves the products unknown.
        schema: schema that extracts unstated attributes from texts: the name of a word list
            (fashion), the path of a YAML file like it, or a mapping like its content; null extracts
            none. It is stored as a Schema.
        overrides: path of a CSV of manual corrections; null for none.
        embeddings: path of embeddings of the items that others computed, in place of a model's
            towers (`fashret.data.embeddings.read_embeddings`); null for none.
        stated_splits: whether the data set's own splits and roles are kept; false makes new splits.
        unknown_values: spellings of an unknown category, attribute or product id in the data set,
            in any case.
        judgments: search log or graded list of typed queries, see `read_judgments`; null for none.
        judgment_texts: file of query ids and texts, for judgments in the form of TREC qrels.
        grades: what makes a grade of a summed weight of the judgments: linear, log1p or rank.
        triples: table with the columns reference, text and target; null for none.
    """

    name: str = "data"
    attributes: Sequence[str] = ATTRIBUTES
    splits: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    seed: int = 0
    split_seed: int = 0
    batch_size: int = 256
    num_workers: int | None = None
    augment: Augment = field(default_factory=Augment)
    captions: Captions | None = None
    balance: Balance | None = None
    batch: ProductBatches = field(default_factory=ProductBatches)
    tiers: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(TIERS))
    groups: Grouping | None = field(default_factory=Grouping)
    schema: Schema | Mapping[str, object] | str | None = "fashion"
    overrides: str | None = None
    embeddings: str | None = None
    stated_splits: bool = True
    unknown_values: Sequence[str] = UNKNOWN_VALUES
    judgments: str | None = None
    judgment_texts: str | None = None
    grades: str = "log1p"
    triples: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.attributes, str):
            raise ConfigError(f"data.attributes={self.attributes}: it must be a list of names")
        unknown = set(self.splits) - set(SPLITS)
        if unknown or abs(sum(self.splits.values()) - 1.0) > 1e-6:
            raise ConfigError(
                f"data.splits is {dict(self.splits)}: it needs shares of {', '.join(SPLITS)} that "
                "add up to 1"
            )
        if set(self.tiers) - {"medium", "weak"}:
            raise ConfigError(f"data.tiers holds {', '.join(self.tiers)}: it has medium and weak")
        for key, least in (("batch_size", 1), ("num_workers", 0)):
            value = getattr(self, key)
            if value is not None and value < least:
                raise ConfigError(f"data.{key} is {value}: it must be >= {least}")
        if self.grades not in TRANSFORMS:
            raise ConfigError(
                f"data.grades={self.grades}: it must be one of {', '.join(TRANSFORMS)}"
            )
        if self.schema is not None:
            self.schema = Schema.from_config(self.schema)
        self._unknown = frozenset(str(value).strip().casefold() for value in self.unknown_values)

    @property
    def parser(self) -> Schema | None:
        """The schema that extracts attributes from texts; None if none are extracted."""
        return self.schema if isinstance(self.schema, Schema) else None

    @property
    def workers(self) -> int:
        """Number of processes that decode photos."""
        return min(16, cores()) if self.num_workers is None else self.num_workers

    @property
    def min_confidence(self) -> float:
        """Confidence, 0 to 1, below which a product counts as unknown."""
        return 0.0 if self.groups is None else self.groups.min_confidence

    @property
    def label(self) -> str:
        """Name of the data set, made safe for file names."""
        return re.sub(r"[^A-Za-z0-9_.]+", "-", Path(self.name).name)[:60] or "data"

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Collect everything but the contents of `files` that determines the items.

        It is part of the key of the prepared data in the cache.

        Raises:
            DataError: the files that the source reads do not exist.
        """

    def files(self) -> Iterable[tuple[str, str | Path]]:
        """List the files whose contents determine the items, as pairs of a name and a path.

        Names must not depend on the data set's location. A file may be missing. Strings are much
        faster than `Path` for hundreds of thousands of photos.

        Raises:
            DataError: the folder of the data set does not exist.
        """
        return ()

    def options(self) -> list[Any]:
        """Collect the options that determine how items are labelled and split."""
        return [
            type(self).__name__,
            list(self.attributes),
            dict(self.splits),
            self.split_seed,
            self.stated_splits,
            sorted(self._unknown),
            None if self.parser is None else asdict(self.parser),
            None if self.groups is None else self.groups.identity(),
        ]

    def cache_key_parts(self) -> list[Any]:
        """Collect the parts of the prepared data's cache key that do not need file contents.

        A source made of others (`Joined`) includes these parts of each of them.
        """
        return [self.identity(), self.options()]

    @abstractmethod
    def items(self, report: Report) -> Iterator[Item]:
        """Yield the items, counting those that are dropped or repaired in the report."""

    def describe(self, item: Item, report: Report) -> None:
        """Fill in what the data set does not state: an item's product, and attributes of its text.

        Stated values are kept; where the text contradicts one, the report counts it.
        """
        self._mark_unknown(item, report)
        if not self.stated_splits:
            item.split = item.role = None
        unstated = item.product_id is None and "product_id" not in item.by_hand
        if unstated and self.groups is not None:
            inferred = [self.groups.product_from_name(name) for name in item.names]
            if inferred:
                item.product_id, item.product_confidence = max(inferred, key=lambda pair: pair[1])
        parser = self.parser
        if parser is None:
            return
        item.category, pattern = parser.split_category(item.category)
        extracted = parser.read(item.text, item.category)
        filled = dict(item.attributes)
        unstated = (filled.get("pattern") or "unknown") == "unknown"
        if pattern is not None and unstated and "pattern" not in item.by_hand:
            filled["pattern"] = pattern
        for name in self.attributes:
            stated, read = filled.get(name) or "unknown", extracted.get(name)
            if name in item.truth:
                report.measure(name, read, item.truth[name])
            if read is None or name in item.by_hand:
                continue
            if stated == "unknown":
                filled[name] = read
            elif parser.value(name, stated) not in (None, read):
                report.disagree(name, stated, read, f"{item.origin or item.item_id}: {item.text}")
        item.attributes = filled

    def judged_queries(self, table: ItemTable) -> dict[str, JudgedQueries]:
        """Read the judged queries that are not items, by the task that trains on them.

        They are no part of the prepared data: another search log leaves the items as they are.

        Args:
            table: the prepared items.

        Raises:
            DataError: a file cannot be read, or names no item of the table.
        """
        found = {}
        if self.judgments is not None:
            judgments = read_judgments(
                self.judgments,
                queries=self.judgment_texts,
                transform=self.grades,
                shares=self.splits,
                seed=self.split_seed,
            )
            found["search_log"] = search_log_queries(
                judgments, table, what=f"data.judgments={self.judgments}"
            )
        if triples := self.composed_triples():
            found["composed"] = queries_of_triples(triples, table, what=f"triples of {self.name}")
        return found

    def composed_triples(self) -> Sequence[Triple]:
        """Read the triples of composed retrieval; none if the data set has none."""
        return [] if self.triples is None else read_triples(self.triples)

    def means_unknown(self, value: str) -> bool:
        """Return whether the data set uses this spelling for an unknown value."""
        return value.strip().casefold() in self._unknown

    def _mark_unknown(self, item: Item, report: Report) -> None:
        """Replace the data set's spellings of unknown values."""
        where = item.origin or item.item_id
        if self.means_unknown(item.category) and "category" not in item.by_hand:
            if item.category != "unknown":
                report.repair("category: unknown value", f"{where}: {item.category}")
            item.category = "unknown"
        product = item.product_id or ""
        if self.means_unknown(product) and "product_id" not in item.by_hand:
            report.repair("product_id: unknown value", f"{where}: {product}")
            item.product_id = None
        values = dict(item.attributes)
        for name, value in values.items():
            if name not in item.by_hand and self.means_unknown(value):
                if value != "unknown":
                    report.repair(f"{name}: unknown value", f"{where}: {value}")
                values[name] = "unknown"
        item.attributes = values

    def join_key(self, item: Item) -> str | None:
        """Return a text that joins items into one product, if their photos are copies too.

        None keeps the item's product id.

        Args:
            item: the item, described and corrected.
        """
        return None


def existing_root(root: str, *, key: str, layout: str) -> Path:
    """Check that a source's folder exists, and return it.

    Args:
        root: the path that the user gave.
        key: the config key of the path, for the message.
        layout: the expected content of the folder, for the message.

    Raises:
        DataError: the folder does not exist.
    """
    path = Path(root).expanduser()
    if not path.is_dir():
        raise DataError(f"{key}={root} is not a folder: expected {layout}")
    return path
