"""Ids and values of items as integer codes, by row of the item table."""

from copy import copy

import torch
from torch import Tensor

from fashret.data.items import ItemTable
from fashret.types import UNKNOWN, Batch


class ItemCodes:
    """What batches and metrics know of items: ids and values as codes, by row of the table.

    Attributes:
        product: (N,) long.
        caption: (N,) long, UNKNOWN where an item has no text.
        captions: the distinct texts, in the order of their codes.
        described: codes and values of the category and of each attribute.

    Args:
        table: the items.
        min_confidence: a product that is less sure is unknown.
    """

    def __init__(self, table: ItemTable, *, min_confidence: float = 0.0) -> None:
        self.product = torch.from_numpy(table.products(min_confidence))
        codes, self.captions = table.codes("text")
        self.caption = torch.from_numpy(codes)
        self.described: dict[str, tuple[Tensor, list[str]]] = {}
        for name in table.described:
            codes, values = table.codes(name)
            self.described[name] = (torch.from_numpy(codes), values)

    def with_products(self, product: Tensor) -> "ItemCodes":
        """The same items with other (N,) codes of their products."""
        other = copy(self)
        other.product = product
        return other

    def with_captions(self, first: Tensor) -> "ItemCodes":
        """The same items, where captions that a model cannot tell apart have one code.

        Args:
            first: (captions,) long: by code, that of the first caption with the same tokens.
        """
        other = copy(self)
        if len(first):
            other.caption = torch.where(
                self.caption == UNKNOWN, UNKNOWN, first[self.caption.clamp(min=0)]
            )
        return other

    def batch(self, rows: Tensor) -> Batch:
        """The codes of some rows."""
        return Batch(index=rows, product=self.product[rows], caption=self.caption[rows])
