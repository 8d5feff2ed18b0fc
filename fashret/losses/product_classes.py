"""Products as classes, for losses that compare photos with a prototype of each product."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.losses.base import no_pairs
from fashret.types import UNKNOWN, Baseline, Relations, TrainingItems


class ProductClasses(nn.Module):
    """The class of each product of the training items, from 0 to P - 1."""

    class_of: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("class_of", torch.empty(0, dtype=torch.long), persistent=False)

    def prepare(self, items: TrainingItems) -> int:
        """Make a class of each known product of the training items.

        Returns:
            The number P of classes.

        Raises:
            ConfigError: the task has no products, or fewer than two are known.
        """
        if not items.by_product:
            raise ConfigError(
                "the loss classifies photos by their product: use task=product or task=street"
            )
        codes = items.product[items.rows].unique()
        codes = codes[codes != UNKNOWN]
        if len(codes) < 2:
            raise ConfigError("the loss classifies products, and needs at least two known ones")
        self.class_of = torch.full((int(codes.max()) + 1,), UNKNOWN)
        self.class_of[codes] = torch.arange(len(codes))
        return len(codes)

    def of_codes(self, product: Tensor) -> Tensor:
        """Return the (B,) classes of (B,) codes of products, UNKNOWN where there is none."""
        inside = (product != UNKNOWN) & (product < len(self.class_of))
        return torch.where(inside, self.class_of[product.where(inside, 0)], UNKNOWN)

    def of_rows(self, relations: Relations) -> Tensor:
        """Return the (B,) classes of the rows of a batch.

        Raises:
            ConfigError: the rows have no products.
        """
        if relations.classes is None:
            raise ConfigError(
                "the loss classifies photos by their product: use task=product or task=street"
            )
        return self.of_codes(relations.classes)


class PrototypeLoss(nn.Module):
    """Base of losses over a learned prototype of each training product.

    A batch is compared with all products, not only with those that are in it, so that small batches
    suffice; the prototypes need memory for P x D numbers. Rows of unknown products are ignored.
    For task=product and task=street.

    Attributes:
        prototypes: (P, D) parameter, initialised with the mean embedding of each product's training
            photos under the untrained model.
    """

    prototypes: nn.Parameter
    needs_products = True

    def __init__(self) -> None:
        super().__init__()
        self.classes = ProductClasses()

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Initialise the prototypes with the untrained model's embeddings.

        Raises:
            ConfigError: the task has no products, or fewer than two are known.
        """
        count = self.classes.prepare(items)
        images = baseline.image[items.rows].float()
        classes = self.classes.of_codes(items.product[items.rows])
        known = classes != UNKNOWN
        sums = images.new_zeros(count, images.shape[1])
        sums.index_add_(0, classes[known], images[known])
        self.prototypes = nn.Parameter(nn.functional.normalize(sums, dim=1))

    def forward(self, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        """Compute the loss of (B, D) rows by their classes; columns are not used."""
        classes = self.classes.of_rows(relations)
        known = classes != UNKNOWN
        if not bool(known.any()):
            return no_pairs(rows, columns, self.prototypes)
        similarity = rows[known] @ nn.functional.normalize(self.prototypes, dim=1).T
        return self.of_classes(similarity, classes[known])

    @abstractmethod
    def of_classes(self, similarity: Tensor, classes: Tensor) -> Tensor:
        """Compute the loss from similarities.

        Args:
            similarity: (B, P) cosine similarities of photos and prototypes.
            classes: (B,) long class of each photo, all known.

        Returns:
            A scalar.
        """
