"""Photos and the captions of what looks like them but is known to differ."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from fashret.errors import ConfigError
from fashret.functional.relations import pair_relations
from fashret.functional.tiers import TierCodes, pair_tiers
from fashret.losses.base import no_pairs
from fashret.names import listed
from fashret.types import Baseline, Batch, TrainingItems


class HardNegatives(nn.Module):
    """Keeps a photo nearer to its own caption than to those of its hard negatives, by a margin.

    Over a photo i of the batch with the caption i and the K nearest captions n of items of its
    category that are known to differ from it in an attribute:

        mean over n of  t log(1 + exp( (s_in - s_ii + margin) / t ))

    a soft triplet loss (Hermans et al., In Defense of the Triplet Loss, 2017), and the same from
    captions to photos. Captions of one product or of one text are never among them. It has work
    where the batch holds such items: miner=hard or miner=pairs.

    Args:
        weight: of the whole.
        margin: by how much the own caption should be nearer, in similarity.
        nearest: K.
        attributes: which differences count; null for all.
        temperature: t; above 0.
    """

    def __init__(
        self,
        *,
        weight: float,
        margin: float = 0.1,
        nearest: int = 5,
        attributes: Sequence[str] | None = None,
        temperature: float = 0.05,
    ) -> None:
        super().__init__()
        if temperature <= 0.0 or nearest < 1:
            raise ConfigError(
                f"loss.terms.*: temperature={temperature} must be above 0 and nearest={nearest} "
                "at least 1"
            )
        self.weight = weight
        self.margin = margin
        self.nearest = nearest
        self.attributes = attributes
        self.temperature = temperature
        self.logged: dict[str, Tensor] = {}
        self._items: TierCodes | None = None

    def prepare(self, items: TrainingItems, baseline: Baseline) -> None:
        """Take what is known of the items.

        Raises:
            ConfigError: an attribute is none of the data's.
        """
        for name in self.attributes or ():
            if name not in items.described:
                raise ConfigError(
                    f"loss.terms.*.attributes names {name}; the data has "
                    f"{listed(name, items.described)}"
                )
        self._items = TierCodes.from_items(items, self.attributes)

    def forward(self, images: Tensor, texts: Tensor, batch: Batch) -> Tensor:
        """The weighted loss of (B, D) photos and captions, L2-normalised."""
        assert self._items is not None, "prepare comes first"
        items = self._items[batch["index"].cpu()]
        hard = pair_tiers(items[:, None], items[None]).hard.to(images.device)
        hard &= pair_relations(batch, batch).negative  # captions may vary from epoch to epoch
        similarity = images @ texts.T
        own = similarity.diagonal()
        self.logged["hard_negatives"] = hard.sum(dim=1).float().mean()
        if not bool(hard.any()):
            return no_pairs(images, texts)
        losses = [
            self._one_direction(s, own, mask)
            for s, mask in ((similarity, hard), (similarity.T, hard.T))
        ]
        return self.weight * torch.stack(losses).mean()

    def _one_direction(self, similarity: Tensor, own: Tensor, hard: Tensor) -> Tensor:
        """The mean over the rows with a hard negative."""
        lowest = torch.finfo(similarity.dtype).min
        nearest = min(self.nearest, similarity.shape[1])
        found = similarity.masked_fill(~hard, lowest).topk(nearest, dim=1)
        counts = hard.gather(1, found.indices)
        beyond = (found.values.clamp(min=-1.0) - own[:, None] + self.margin) / self.temperature
        per_pair = self.temperature * softplus(beyond) * counts
        rows = counts.any(dim=1)
        return (per_pair.sum(dim=1)[rows] / counts.sum(dim=1)[rows]).mean()
