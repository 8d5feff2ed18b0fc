"""What fashret trains: towers, and heads that turn their features into embeddings."""

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from fashret.errors import ConfigError
from fashret.functional.blocks import GENERAL, Layout
from fashret.models.adapters import adapter_parameters, add_adapters
from fashret.models.backbone import Backbone
from fashret.models.heads import Heads, Projection, make_head, narrowed
from fashret.models.spec import ModelSpec
from fashret.types import UNKNOWN, Batch


class Retriever(nn.Module):
    """Embeds photos and texts into one space.

    A head is one linear map from a tower's features before its own projection, begun as that
    projection, so that an untrained retriever is its backbone. Without a backbone it embeds
    stored features.

    Beside the general block it may have a block an attribute: another linear map of the same
    features. The blocks' unit vectors stand side by side, divided by the root of their number, so
    that the whole is a unit vector too; `layout` says which columns are whose, and a query that is
    weighted by block searches one catalog with any weights.

    Args:
        image: where the image head begins.
        text: where the text head begins.
        blocks: where the heads of each attribute's block begin, image and text.
        backbone: the towers; None where only stored features are embedded.

    Attributes:
        chunk: items that the towers encode at a time while they learn; None for a whole batch.
        last_batch: items in the batch that was encoded last.
    """

    def __init__(
        self,
        image: Projection,
        text: Projection,
        blocks: Mapping[str, tuple[Projection, Projection]] | None = None,
        *,
        backbone: Backbone | None = None,
    ) -> None:
        super().__init__()
        self.image_head = make_head(image)
        self.text_head = make_head(text)
        self.block_names: tuple[str, ...] = ()
        self.block_images = nn.ModuleList()
        self.block_texts = nn.ModuleList()
        self.backbone = backbone
        self.chunk: int | None = None
        self.last_batch = 0
        for name, pair in (blocks or {}).items():
            self._add_block(name, pair)

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
    def heads(self) -> Heads:
        """Copies of the heads as they are."""
        pairs = zip(_linear(self.block_images), _linear(self.block_texts), strict=True)
        blocks = {
            name: (Projection.of(image), Projection.of(text))
            for name, (image, text) in zip(self.block_names, pairs, strict=True)
        }
        return Heads(Projection.of(self.image_head), Projection.of(self.text_head), blocks)

    @property
    def layout(self) -> Layout:
        """Which columns of an embedding are whose."""
        widths = {GENERAL: self.image_head.out_features}
        for name, head in zip(self.block_names, _linear(self.block_images), strict=True):
            widths[name] = head.out_features
        return Layout.of(widths)

    @property
    def dim(self) -> int:
        """The width of an embedding."""
        return self.layout.dim

    def add_blocks(self, spec: ModelSpec) -> "Retriever":
        """Add the blocks that a spec asks for, each begun as directions of the general block.

        Raises:
            ConfigError: a block is wider than the general one.
        """
        image, text, _ = self.heads
        for number, (name, width) in enumerate(spec.block_widths.items()):
            if width > len(image.weight):
                raise ConfigError(
                    f"model.attribute_blocks.{name}={width}: it must be at most "
                    f"{len(image.weight)}, the width of the embedding itself"
                )
            seed = spec.seed + number
            self._add_block(name, (narrowed(image, width, seed), narrowed(text, width, seed)))
        return self

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
        self.last_batch = len(batch["images"])
        images = self._in_chunks(self.backbone.encode_image, batch["images"])
        return images, self._in_chunks(self.backbone.encode_text, batch["tokens"])

    def embed_image(self, features: Tensor) -> Tensor:
        """(B, F) features -> (B, D) embeddings, L2-normalised."""
        return self._embed(features, self.image_head, self.block_images)

    def embed_text(self, features: Tensor, has_text: Tensor) -> Tensor:
        """(B, G) features and (B,) bool -> (B, D) embeddings, L2-normalised or zero."""
        return self._embed(features, self.text_head, self.block_texts) * has_text[:, None]

    def set_training(self, spec: ModelSpec) -> None:
        """Let learn what the spec says, and freeze the rest.

        Raises:
            ConfigError: train=blocks or lora with a tower that has no blocks; a way to save memory
                that the towers do not know.
        """
        if spec.train == "lora" and self.backbone is not None:
            add_adapters(
                self.backbone,
                self.backbone.blocks(),
                rank=spec.lora_rank,
                alpha=spec.lora_alpha,
            )
        self.requires_grad_(False)
        for parameter in self._to_train(spec):
            parameter.requires_grad_(True)
        if self.backbone is None:
            return
        self.chunk = spec.chunk
        counts = any(_learns_statistics(m) for m in self.backbone.modules())
        if counts and spec.chunk is not None:
            raise ConfigError(
                f"model.chunk={spec.chunk}: batch normalisation looks at the whole batch, which "
                "chunks would change; use model.train=lora, or a model without it"
            )
        if spec.checkpointing and not spec.frozen:
            if counts:
                raise ConfigError(
                    "model.checkpointing=true: batch normalisation that learns would count every "
                    "batch twice; use model.train=lora, or a model without it"
                )
            self.backbone.checkpoint_activations()

    @property
    def encodes_while_training(self) -> bool:
        """Whether towers compute in a training step, and not only heads over stored features."""
        return self.backbone is not None

    def halve_chunk(self, size: int) -> int | None:
        """Encode in chunks of half the size from now on.

        Args:
            size: items in a batch.

        Returns:
            The new chunk, or None where it cannot be halved: no towers compute, one item is encoded
            at a time already, or batch normalisation learns from the whole batch.
        """
        chunk = min(self.chunk or size, size)
        if self.backbone is None or chunk < 2 or any(map(_learns_statistics, self.modules())):
            return None
        self.chunk = chunk // 2
        return self.chunk

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

    def _in_chunks(self, encode: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Encode (B, ...) inputs; where gradients are wanted, keep the activations of a chunk only.

        The gradient of the whole batch's loss then flows through one chunk after another, each
        encoded again: the same sum in another order.
        """
        if self.chunk is None or not torch.is_grad_enabled():
            return encode(inputs)
        parts = [checkpoint(encode, part, use_reentrant=False) for part in inputs.split(self.chunk)]
        return torch.cat(parts)

    def _embed(self, features: Tensor, head: nn.Linear, blocks: nn.ModuleList) -> Tensor:
        """The unit vectors of the general head and of the blocks, over the root of their number."""
        features = features.to(head.weight.dtype)
        parts = [nn.functional.normalize(h(features), dim=-1) for h in (head, *blocks)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1) / math.sqrt(len(parts))

    def _add_block(self, name: str, pair: tuple[Projection, Projection]) -> None:
        self.block_names = (*self.block_names, name)
        self.block_images.append(make_head(pair[0]))
        self.block_texts.append(make_head(pair[1]))

    def _heads(self) -> list[tuple[nn.Linear, Projection | None]]:
        """The heads and what they began as; None for the identity."""
        towers = self.backbone
        image = None if towers is None else towers.image_projection
        text = None if towers is None else towers.text_projection
        return [(self.image_head, image), (self.text_head, text)]

    def _to_train(self, spec: ModelSpec) -> Iterator[nn.Parameter]:
        yield from self.block_images.parameters()
        yield from self.block_texts.parameters()
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
        elif spec.train == "lora":
            yield from adapter_parameters(self.backbone)
        else:
            for blocks in self.backbone.blocks():
                for block in blocks[-spec.train_blocks :]:
                    yield from block.parameters()


def _learns_statistics(module: nn.Module) -> bool:
    """Whether it normalises by the batch at hand; `train` leaves frozen ones out."""
    return isinstance(module, _BatchNorm) and any(p.requires_grad for p in module.parameters())


def _text_width(backbone: Backbone) -> int:
    """The width of the features of a model whose towers both end without a projection."""
    with torch.no_grad():
        device = next(backbone.parameters()).device
        return int(backbone.encode_text(backbone.tokenize(["a"]).to(device)).shape[1])


def _linear(heads: nn.ModuleList) -> list[nn.Linear]:
    """The heads that a list holds."""
    return list(heads)  # type: ignore[arg-type]  # a ModuleList may hold any module
