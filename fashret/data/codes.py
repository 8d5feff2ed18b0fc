"""Product ids, texts and attribute values of items as integer codes, by row of the item table."""

from collections.abc import Mapping, Sequence
from copy import copy

import torch
from torch import Tensor

from fashret.data.items import ItemTable
from fashret.types import GALLERY, QUERY, UNKNOWN, Batch, TrainingItems

_ROLES = {"query": QUERY, "gallery": GALLERY}


class ItemCodes:
    """Products, texts and attribute values of a table's items as integer codes.

    Attributes:
        product: (N,) long code of each item's product, UNKNOWN where it has none.
        caption: (N,) long code of each item's text, UNKNOWN where it has none.
        captions: the distinct texts, in the order of their codes.
        labels: (N,) long codes and names of the values, of the category and of each attribute.
        role: (N,) long roles QUERY, GALLERY or UNKNOWN; None for a table without roles.

    Args:
        table: the item table.
        min_confidence: products of a lower confidence, 0 to 1, are UNKNOWN.
    """

    def __init__(self, table: ItemTable, *, min_confidence: float = 0.0) -> None:
        self.product = torch.from_numpy(table.products(min_confidence))
        codes, self.captions = table.codes("text")
        self.caption = torch.from_numpy(codes)
        self.labels: dict[str, tuple[Tensor, list[str]]] = {}
        for name in table.categorical_columns:
            codes, values = table.codes(name)
            self.labels[name] = (torch.from_numpy(codes), values)
        self.role: Tensor | None = None
        if "role" in table.dataset.column_names:
            roles = [_ROLES.get(str(role), UNKNOWN) for role in table.column("role")]
            self.role = torch.tensor(roles)

    def with_products(self, product: Tensor) -> "ItemCodes":
        """Copy the codes with other products.

        Args:
            product: (N,) long codes.
        """
        other = copy(self)
        other.product = product
        return other

    def with_captions(self, first: Tensor) -> "ItemCodes":
        """Copy the codes, giving captions with equal tokens one code.

        Args:
            first: (captions,) long: for each caption's code, the code of the first caption with the
                same tokens.
        """
        other = copy(self)
        if len(first):
            other.caption = torch.where(
                self.caption == UNKNOWN, UNKNOWN, first[self.caption.clamp(min=0)]
            )
        return other

    def with_caption_codes(self, caption: Tensor) -> "ItemCodes":
        """Copy the codes with other codes of the items' texts, (N,) long."""
        other = copy(self)
        other.caption = caption
        return other

    def without_captions(self) -> "ItemCodes":
        """Copy the codes without captions, for a model that reads no text."""
        other = copy(self)
        other.caption, other.captions = torch.full_like(self.caption, UNKNOWN), []
        return other

    def batch(self, rows: Tensor) -> Batch:
        """Select the codes of some rows, (B,) long."""
        batch = Batch(index=rows, product=self.product[rows], caption=self.caption[rows])
        if self.role is not None:
            batch["role"] = self.role[rows]
        return batch

    def training_items(
        self,
        table: ItemTable,
        rows: Tensor | None = None,
        *,
        product: Tensor | None = None,
        tiers: Mapping[str, Sequence[str]] | None = None,
    ) -> TrainingItems:
        """Collect what losses, miners and tasks may know of the items.

        Args:
            table: the item table.
            rows: (n,) long rows that are trained on; None for those of the training split.
            product: (N,) long codes of the products; None for those of the table.
            tiers: attributes that relate two items of a category, see `TrainingItems`.
        """
        return TrainingItems(
            rows=torch.from_numpy(table.rows("train")) if rows is None else rows,
            product=self.product if product is None else product,
            caption=self.caption,
            labels=self.labels,
            ids=table.column("item_id"),
            tiers=tiers or {},
            role=self.role,
        )
