"""Photos find other photos of the product: `task=product`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fashret.data.learnable import check_products
from fashret.data.source import Source
from fashret.functional.judged import JudgedPairs
from fashret.functional.relations import product_relations
from fashret.loading.product_sampler import ProductSampler
from fashret.loading.samplers import TrainingSampler
from fashret.tasks.training import TrainingTask
from fashret.types import Batch, Relations, TrainingItems


@dataclass(frozen=True, kw_only=True)
class ProductTask(TrainingTask):
    """Trains photos against photos: other photos of the product are positives.

    A batch has P products with K photos each (`data.batch`). No text is needed, and the text tower
    is not trained.

    Args:
        weight: weight of the task's loss where a run has several tasks, above 0.
        memory: embeddings of earlier batches that are further columns of the loss; 0 for none.
    """

    name = "product"
    metric = "image/product/mrr@10"
    by_product = True

    def photo_sides(self, items: TrainingItems) -> tuple[NDArray[np.int64], ...]:
        """Return the rows from which a batch takes the photos of a product."""
        return (items.rows.numpy(),)

    def check(
        self, items: TrainingItems, caption: Tensor, *, data: str, batch_items: int, values: bool
    ) -> None:
        """Check that two products have several photos; see `TrainingTask.check`."""
        check_products(items, caption, self.photo_sides(items), data=data, task=self.name)

    def sampler(
        self, items: TrainingItems, source: Source, *, reshuffle: bool = True, **order: Any
    ) -> TrainingSampler:
        """Draw products, and photos of each; see `TrainingTask.sampler`."""
        product, rows = items.product.numpy(), items.rows.numpy()
        known = rows[product[rows] >= 0]
        _, first, counts = np.unique(product[known], return_index=True, return_counts=True)
        products, photos, singles = source.batch.sizes(source.batch_size, int(counts.max()))
        return ProductSampler(
            self.photo_sides(items),
            product,
            photos=photos,
            num_products=products,
            by_photo=source.batch.every == "photo",
            singles=np.sort(known[first[counts == 1]]),
            num_singles=singles,
            reshuffle=reshuffle,
            **order,
        )

    def sides(self, images: Tensor, texts: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Compare photos with photos."""
        return images, images

    def relations(
        self,
        rows: Batch,
        columns: Batch,
        *,
        several_positives: bool,
        judged: JudgedPairs | None = None,
    ) -> Mapping[str, Relations]:
        """Relate photos to photos; see `functional.relations.product_relations`."""
        return {self.name: product_relations(rows, columns)}
