"""Check that the training items have at least one pair to learn from."""

import torch

from fashret.errors import ConfigError, DataError
from fashret.types import UNKNOWN, TrainingItems


def check_learnable(
    items: TrainingItems, caption: torch.Tensor, *, data: str, batch_items: int, values: bool
) -> None:
    """Check that training has at least one valid pair of items.

    A contrastive loss needs a photo, its caption, and a caption that is wrong for it: two items
    with different texts and different products. Losses over attributes need an attribute with two
    known values.

    Args:
        items: the training items.
        caption: (N,) or (N, T) long codes of all captions that each item may be trained with.
        data: name of the data set, for messages.
        batch_items: number of items in a batch of all processes together.
        values: whether the loss also learns from attribute values.

    Raises:
        DataError: no two items have different texts and different products.
        ConfigError: a batch has only one item.
    """
    if batch_items < 2:
        raise ConfigError(
            f"data.batch_size={batch_items}: a batch of one item has nothing to compare it with; "
            "use at least 2"
        )
    fault = _no_pair(items, caption[items.rows])
    if fault is not None and not (values and _some_values(items)):
        raise DataError(
            f"data {data} has nothing to train on: {fault}. Training compares photos with "
            "captions, so that it needs two items with different texts and different products. "
            "Name the column of the texts (data.columns.text=<column>), or make captions from "
            "attributes (data.captions)"
        )


def _no_pair(items: TrainingItems, caption: torch.Tensor) -> str | None:
    """Explain why no two training items form a valid pair; None if two do."""
    number = len(items.rows)
    texts = caption[caption != UNKNOWN].unique()
    if not len(texts):
        return f"none of its {number} training items has a text"
    if len(texts) == 1:
        return f"its {number} training items have one and the same text"
    has_text = (caption != UNKNOWN).reshape(number, -1).any(dim=1)
    product = items.product[items.rows][has_text]
    if len(product.unique()) == 1 and int(product[0]) != UNKNOWN:
        return f"all of its {int(has_text.sum())} training items with a text are one product"
    return None


def _some_values(items: TrainingItems) -> bool:
    """Return whether the category or an attribute has two known values in the training items."""
    return any(
        len(codes[items.rows][codes[items.rows] != UNKNOWN].unique()) > 1
        for codes, _ in items.labels.values()
    )
