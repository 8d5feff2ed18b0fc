"""What fashret trains: towers, and heads that turn their features into embeddings."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from fashret.models.backbone import Backbone
from fashret.models.heads import Projection, make_head
from fashret.models.spec import ModelSpec
from fashret.types import UNKNOWN, Batch


class Retriever(nn.Module):
    """Embeds photos and texts into one space.

    A head is one linear map from a tower's features before its own projection, begun as that
    projection, so that an untrained retriever is its backbone. Without a backbone it embeds
    stored features.

    Args:
        image: where the image head begins.
        text: where the text head begins.
        backbone: the towers; None where only stored features are embedded.
    """

    def __init__(
        self, image: Projection, text: Projection, *, backbone: Backbone | None = None
    ) -> None:
        super().__init__()
        self.image_head = make_head(image)
        self.text_head = make_head(text)
        self.backbone = backbone

    @classmethod
    def on(cls, backbone: Backbone) -> "Retriever":
        """The untrained retriever of a backbone."""
        image, text = backbone.image_projection, backbone.text_projection
        cut = image or text  # a tower without a projection ends in the space of the other's
        width = len(cut.weight) if cut else _text_width(backbone)
        return cls(
            image or Projection.identity(width),
            text or Projection.identity(width),
            backbone=backbone,
        )

    @property
    def dim(self) -> int:
        """The width of an embedding."""
        return self.image_head.out_features

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embed a batch.

        Returns:
            (B, D) image and (B, D) text embeddings, L2-normalised; a text embedding is zero where
            the item has no text.
        """
        images, texts = self.features(batch)
        return self.embed_image(images), self.embed_text(texts, batch["caption"] != UNKNOWN)

    def features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The towers' outputs before their projections: stored, or computed now."""
        if "image_features" in batch:
            return batch["image_features"], batch["text_features"]
        assert self.backbone is not None, "photos need towers"
        images = self.backbone.encode_image(batch["images"])
        return images, self.backbone.encode_text(batch["tokens"])

    def embed_image(self, features: Tensor) -> Tensor:
        """(B, F) features -> (B, D) embeddings, L2-normalised."""
        embeddings: Tensor = self.image_head(features.to(self.image_head.weight.dtype))
        return nn.functional.normalize(embeddings, dim=-1)

    def embed_text(self, features: Tensor, has_text: Tensor) -> Tensor:
        """(B, G) features and (B,) bool -> (B, D) embeddings, L2-normalised or zero."""
        embeddings: Tensor = self.text_head(features.to(self.text_head.weight.dtype))
        return nn.functional.normalize(embeddings, dim=-1) * has_text[:, None]

    def set_training(self, spec: ModelSpec) -> None:
        """Let learn what the spec says, and freeze the rest.

        Raises:
            ConfigError: train=blocks with a tower that has no blocks.
        """
        self.requires_grad_(False)
        for parameter in self._to_train(spec):
            parameter.requires_grad_(True)

    def learned_state(self) -> dict[str, Tensor]:
        """What a checkpoint holds: the parameters that learn, and their modules' buffers."""
        parameters = dict(self.named_parameters())
        frozen = {name for name, p in parameters.items() if not p.requires_grad}
        learning = {name.rpartition(".")[0] for name in parameters.keys() - frozen}
        return {
            name: value
            for name, value in self.state_dict().items()
            if name not in frozen and name.rpartition(".")[0] in learning
        }

    def train(self, mode: bool = True) -> "Retriever":
        """Training mode for what learns; frozen modules keep their running statistics."""
        super().train(mode)
        if mode and self.backbone is not None:
            for module in list(self.backbone.modules())[2:]:  # itself and open_clip's model apart
                own = list(module.parameters(recurse=False))
                if own and not any(p.requires_grad for p in own):
                    module.training = False  # not eval(), which its children would follow
        return self

    def _heads(self) -> list[tuple[nn.Linear, Projection | None]]:
        """The heads and what they began as; None for the identity."""
        towers = self.backbone
        image = None if towers is None else towers.image_projection
        text = None if towers is None else towers.text_projection
        return [(self.image_head, image), (self.text_head, text)]

    def _to_train(self, spec: ModelSpec) -> Iterator[nn.Parameter]:
        if spec.heads:
            for head, projection in self._heads():
                # Behind a tower that learns whole, a head that began as the identity only adds
                # a second way to do the same, and unsettles training from nothing.
                if projection is not None or spec.train != "all":
                    yield from head.parameters()
        if spec.frozen or self.backbone is None:
            return
        if spec.train == "all":
            skipped = {"clip.logit_scale", "clip.logit_bias"}  # the loss has its own
            yield from (p for n, p in self.backbone.named_parameters() if n not in skipped)
        else:
            for blocks in self.backbone.blocks():
                for block in blocks[-spec.train_blocks :]:
                    yield from block.parameters()


def _text_width(backbone: Backbone) -> int:
    """The width of the features of a model whose towers both end without a projection."""
    with torch.no_grad():
        device = next(backbone.parameters()).device
        return int(backbone.encode_text(backbone.tokenize(["a"]).to(device)).shape[1])
