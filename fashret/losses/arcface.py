"""Classification of products with an angular margin: ArcFace, and normalised softmax."""

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fashret.errors import ConfigError
from fashret.losses.product_classes import PrototypeLoss


class ArcFace(PrototypeLoss):
    """Classifies each photo as its product, with a margin added to the angle of the right one.

    With the angle t_ij between photo i and prototype j, and the product y of the photo:

        cross entropy of  scale * (cos(t_iy + margin) for y, cos(t_ij) for j != y)

    averaged over photos (Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face
    Recognition, 2019). Beyond pi - margin the cosine would rise again: there it is
    cos(t) - margin sin(margin). A margin of 0 is normalised softmax (Zhai and Wu, Classification is
    a Strong Baseline for Deep Metric Learning, 2019).

    Use it for many products with few photos each; `supcon` needs no prototypes.

    Args:
        margin: angle in radians, at least 0 and below pi.
        scale: factor of the cosines, above 0: 1 / temperature.

    Raises:
        ConfigError: a value is out of its range.
    """

    def __init__(self, *, margin: float = 0.3, scale: float = 16.0) -> None:
        super().__init__()
        if not 0.0 <= margin < math.pi or scale <= 0.0:
            raise ConfigError(
                f"loss: margin={margin} must be at least 0 and below pi, scale={scale} above 0"
            )
        self.margin = margin
        self.scale = scale

    def of_classes(self, similarity: Tensor, classes: Tensor) -> Tensor:
        """Compute the loss from (B, P) similarities and (B,) classes."""
        own = similarity.gather(1, classes[:, None])
        # acos has an infinite gradient at 1 and -1.
        bound = 1.0 - torch.finfo(own.dtype).eps
        angle = own.clamp(-bound, bound).acos()
        moved = torch.where(
            angle <= math.pi - self.margin,
            (angle + self.margin).cos(),
            own - self.margin * math.sin(self.margin),
        )
        logits = similarity.scatter(1, classes[:, None], moved if self.margin else own)
        return cross_entropy(self.scale * logits, classes)
