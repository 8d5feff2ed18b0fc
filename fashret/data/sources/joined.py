"""Several data sources joined into one data set."""

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
    """The items of several sources, one source after another.

    An item's id is prefixed with the name of its part. Each part is labelled and split as it would
    be alone, so that its held-out items stay held out; a part with stated splits needs a validation
    split. Categories and values are in lower case, since each data set spells them its own way.

    Args:
        parts: the sources by name; the names are the prefixes of the items' ids.
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
                    f"data.parts.{name}.overrides: set data.overrides of the joined data set "
                    f"instead, with ids such as {name}/<item_id>"
                )

    def identity(self) -> dict[str, Any]:
        """Collect the cache key parts of each part."""
        return {name: part.cache_key_parts() for name, part in self.parts.items()}

    def files(self) -> Iterator[tuple[str, str | Path]]:
        """List the files of each part, with the part's name in front."""
        for part, source in self.parts.items():
            for name, path in source.files():
                yield f"{part}/{name}", path

    def items(self, report: Report) -> Iterator[Item]:
        """Yield the items of each part, with their splits in that part."""
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

    def join_key(self, item: Item) -> str | None:
        """Delegate to the part that the item came from."""
        name = item.item_id.partition("/")[0]
        key = self.parts[name].join_key(item)
        return None if key is None else f"{name}/{key}"
