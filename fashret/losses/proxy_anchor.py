"""Proxy anchor loss: prototypes of products attract their photos and repel all others."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from fashret.errors import ConfigError
from fashret.losses.product_classes import PrototypeLoss


class ProxyAnchor(PrototypeLoss):
    """Pulls photos to the prototype of their product; hard photos count more.

    With the similarity s_pi of prototype p and photo i, the photos P(p) of its product and the
    others N(p) of the batch:

        mean over the prototypes with a photo in the batch of
            log(1 + sum over i in P(p) of exp(-scale (s_pi - margin)))
        + mean over all prototypes of
            log(1 + sum over i in N(p) of exp(scale (s_pi + margin)))

    (Kim et al., Proxy Anchor Loss for Deep Metric Learning, 2020, equation 4).

    Args:
        margin: margin of the cosine similarity, at least 0.
        scale: factor of the similarities, above 0.

    Raises:
        ConfigError: a value is out of its range.
    """

    def __init__(self, *, margin: float = 0.1, scale: float = 32.0) -> None:
        super().__init__()
        if margin < 0.0 or scale <= 0.0:
            raise ConfigError(f"loss: margin={margin} must be at least 0, scale={scale} above 0")
        self.margin = margin
        self.scale = scale

    def of_classes(self, similarity: Tensor, classes: Tensor) -> Tensor:
        """Compute the loss from (B, P) similarities and (B,) classes."""
        own = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, classes[:, None], True)
        lowest = torch.finfo(similarity.dtype).min
        near = (-self.scale * (similarity - self.margin)).masked_fill(~own, lowest)
        far = (self.scale * (similarity + self.margin)).masked_fill(own, lowest)
        has_photo = own.any(dim=0)
        # log(1 + sum of exp) is softplus of a logsumexp
        attracted = softplus(near[:, has_photo].logsumexp(dim=0)).mean()
        repelled = softplus(far.logsumexp(dim=0)).mean()
        return attracted + repelled
