"""Check that the training items have something to learn from, for each task."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.errors import ConfigError, DataError
from fashret.types import UNKNOWN, Labels, TrainingItems


def check_captions(
    items: TrainingItems, caption: Tensor, *, data: str, batch_items: int, values: bool
) -> None:
    """Check that training photos against captions has at least one valid pair of items.

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
    _check_batch(batch_items)
    fault = _no_pair(items, caption[items.rows])
    if fault is not None and not (values and _valued(items, items.labels)):
        raise DataError(
            f"data {data} has nothing to train on: {fault}. Training compares photos with "
            "captions, so that it needs two items with different texts and different products. "
            "Name the column of the texts (data.columns.text=<column>), or make captions from "
            f"attributes (data.captions){_fitting(items, caption, 'caption')}"
        )


def check_products(
    items: TrainingItems,
    caption: Tensor,
    sides: Sequence[NDArray[np.int64]],
    *,
    data: str,
    task: str,
) -> None:
    """Check that two products have the photos that a task of products needs.

    Args:
        items: the training items.
        caption: (N,) or (N, T) long codes of the captions, for what the message suggests.
        sides: rows of the photos that are compared: those that ask, and those that are searched.
        data: name of the data set, for messages.
        task: name of the task, for messages.

    Raises:
        DataError: fewer than two products have several photos, or photos on both sides.
    """
    product = items.product.numpy()
    several = _several_photos(items)
    known = int((items.product[items.rows] != UNKNOWN).sum())
    for side in sides:
        several = np.intersect1d(several, product[side])
    if len(several) >= 2:
        return
    number = len(items.rows)
    if not known:
        fault = f"none of its {number} training items has a product"
    elif len(sides) > 1:
        fault = (
            f"{len(several)} products of its {number} training items have both a photo of role "
            "query and one of role gallery"
        )
    else:
        fault = f"{len(several)} products of its {number} training items have two or more photos"
    raise DataError(
        f"data {data} has nothing to train on: {fault}. task={task} compares photos of products, "
        "so that it needs two products with several photos. Name the column of the products "
        "(data.columns.product_id=<column>), or the patterns of their names (data.groups.names)"
        f"{_fitting(items, caption, task)}"
    )


def check_values(
    items: TrainingItems, caption: Tensor, labels: Labels, *, data: str, batch_items: int
) -> None:
    """Check that an attribute has two known values among the training items.

    Args:
        items: the training items.
        caption: (N,) or (N, T) long codes of the captions, for what the message suggests.
        labels: the attributes that are trained.
        data: name of the data set, for messages.
        batch_items: number of items in a batch of all processes together.

    Raises:
        DataError: none has.
        ConfigError: a batch has only one item.
    """
    _check_batch(batch_items)
    if not _valued(items, labels):
        raise DataError(
            f"data {data} has nothing to train on: none of {', '.join(labels) or 'no attributes'} "
            f"has two known values among its {len(items.rows)} training items. task=attribute "
            "compares photos of equal and of different values"
            f"{_fitting(items, caption, 'attribute')}"
        )


def check_queries(items: TrainingItems, caption: Tensor, *, data: str, task: str, key: str) -> None:
    """Check that two judged queries have relevant items, and not all the same ones.

    Args:
        items: the training items.
        caption: (N,) or (N, T) long codes of the captions, for what the message suggests.
        data: name of the data set, for messages.
        task: name of the task.
        key: the config key of its file.

    Raises:
        DataError: there is nothing to learn.
    """
    queries = items.queries.get(task)
    if queries is not None and len(queries) >= 2 and len(queries.row.unique()) >= 2:
        return
    number = 0 if queries is None else len(queries)
    raise DataError(
        f"data {data} has nothing to train on: {number} queries of the training split have a "
        f"relevant item among its {len(items.rows)} training items. task={task} compares queries "
        f"with the items that answer them, so that {key} must have two such queries"
        f"{_fitting(items, caption, task)}"
    )


def _check_batch(batch_items: int) -> None:
    if batch_items < 2:
        raise ConfigError(
            f"data.batch_size={batch_items}: a batch of one item has nothing to compare it with; "
            "use at least 2"
        )


def _fitting(items: TrainingItems, caption: Tensor, task: str) -> str:
    """Name the other tasks that the items have examples for, as the end of a message."""
    found = []
    if task != "caption" and _no_pair(items, caption[items.rows]) is None:
        texts = int((caption[items.rows] != UNKNOWN).reshape(len(items.rows), -1).any(dim=1).sum())
        found.append(f"task=caption trains on the {texts} items with a text")
    if task not in ("product", "street") and len(several := _several_photos(items)) >= 2:
        found.append(f"task=product trains on the {len(several)} products with two or more photos")
    if task != "attribute" and (names := _valued(items, items.labels)):
        found.append(f"task=attribute trains on the values of {', '.join(names[:3])}")
    return f". With this data {'; '.join(found)}" if found else ""


def _several_photos(items: TrainingItems) -> NDArray[np.int64]:
    """The products with two or more training photos, ascending."""
    product = items.product[items.rows]
    codes, counts = product[product != UNKNOWN].unique(return_counts=True)
    several: NDArray[np.int64] = codes[counts > 1].numpy()
    return several


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


def _valued(items: TrainingItems, labels: Labels) -> list[str]:
    """The names of the attributes with two known values among the training items."""
    return [
        name
        for name, (codes, _) in labels.items()
        if len(codes[items.rows][codes[items.rows] != UNKNOWN].unique()) > 1
    ]
