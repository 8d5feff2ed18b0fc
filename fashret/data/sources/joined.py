"""Several sets as one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fashret.data.attribute_parser import Schema
from fashret.data.preparation_report import Report
from fashret.data.source import Item, Source
from fashret.data.splits import split_of
from fashret.errors import ConfigError


@dataclass(kw_only=True)
class Joined(Source):
    """The items of other sources, one after another.

    An item's id gets the name of its part in front. Each part is described and split as it is
    alone, so that what it holds out stays out; a part with splits of its own needs its validation.
    Categories and values are in lower case, since each set spells them its own way.

    Args:
        parts: the sources, by the names that their items are known by.
    """

    name: str = "joined"
    schema: Schema | Mapping[str, object] | str | None = None
    unknown_values: Sequence[str] = ()
    parts: Mapping[str, Source]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts:
            raise ConfigError("data.parts is empty: it needs a source, data@data.parts.<name>")
        for name, part in self.parts.items():
            if part.overrides is not None:
                raise ConfigError(
                    f"data.parts.{name}.overrides: correct the whole, data.overrides, whose ids "
                    f"are {name}/<item_id>"
                )

    def identity(self) -> dict[str, Any]:
        """What the parts are."""
        return {name: [part.identity(), part.options()] for name, part in self.parts.items()}

    def files(self) -> Iterator[tuple[str, str | Path]]:
        """The parts' own."""
        for part, source in self.parts.items():
            for name, path in source.files():
                yield f"{part}/{name}", path

    def items(self, report: Report) -> Iterator[Item]:
        """The items of each part, with the split that they have in it."""
        for name, part in self.parts.items():
            for item in part.items(report):
                part.describe(item, report)
                group = item.split_group or item.product_id or item.item_id
                split = item.split or split_of(group, part.splits, part.split_seed)
                product = item.product_id and f"{name}/{item.product_id}"
                yield replace(
                    item,
                    item_id=f"{name}/{item.item_id}",
                    product_id=product,
                    split=split,
                    category=item.category.lower(),
                    attributes={n: value.lower() for n, value in item.attributes.items()},
                )

    def join_key(self, item: Item, photo_hash: str) -> object:
        """The part's own."""
        name = item.item_id.partition("/")[0]
        key = self.parts[name].join_key(item, photo_hash)
        return None if key is None else (name, key)
