"""Customers' photos find the shop's photos of the product: `task=street`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fashret.tasks.product import ProductTask
from fashret.types import GALLERY, QUERY, TrainingItems


@dataclass(frozen=True, kw_only=True)
class StreetTask(ProductTask):
    """Trains photos that ask (role `query`) against photos that are searched (role `gallery`).

    The photos of a product in a batch are of both roles. A photo without a role may be either, so
    that a training split without roles is trained as by `task=product`.

    Args:
        weight: weight of the task's loss where a run has several tasks, above 0.
        memory: embeddings of earlier batches that are further columns of the loss; 0 for none.
    """

    name = "street"

    def photo_sides(self, items: TrainingItems) -> tuple[NDArray[np.int64], ...]:
        """Return the rows that may ask, and those that may be searched."""
        rows = items.rows.numpy()
        if items.role is None:
            return (rows,)
        role = items.role.numpy()[rows]
        return rows[role != GALLERY], rows[role != QUERY]
