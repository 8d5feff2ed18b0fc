"""Product ids, texts and attribute values of items as integer codes, by row of the item table."""

from copy import copy

import torch
from torch import Tensor

from fashret.data.items import ItemTable
from fashret.types import UNKNOWN, Batch


class ItemCodes:
    """Products, texts and attribute values of a table's items as integer codes.

    Attributes:
        product: (N,) long code of each item's product, UNKNOWN where it has none.
        caption: (N,) long code of each item's text, UNKNOWN where it has none.
        captions: the distinct texts, in the order of their codes.
        labels: (N,) long codes and names of the values, of the category and of each attribute.

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

    def batch(self, rows: Tensor) -> Batch:
        """Select the codes of some rows, (B,) long."""
        return Batch(index=rows, product=self.product[rows], caption=self.caption[rows])
