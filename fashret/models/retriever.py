"""The retriever: towers, and linear heads that turn their features into embeddings."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from fashret.cache import default_cache_dir
from fashret.errors import ConfigError
from fashret.functional.blocks import GENERAL, Layout
from fashret.models.adapters import adapter_parameters, add_adapters
from fashret.models.backbone import Backbone, load_backbone
from fashret.models.checkpoint import is_text_weight, with_weights
from fashret.models.composer import make_composer, plain_mean
from fashret.models.device import pick_device
from fashret.models.encoding import (
    Photo,
    encode_in_batches,
    listed_photos,
    listed_texts,
    open_photo,
)
from fashret.models.heads import Heads, Projection, make_head, project, random_subspace
from fashret.models.source import TINY, resolve_source
from fashret.models.spec import ModelSpec
from fashret.types import UNKNOWN, Batch


class Retriever(nn.Module):
    """A model that embeds photos and texts into one space.

    A head is one linear map from a tower's features before its own projection, initialised with
    that projection, so that an untrained retriever equals its backbone. Without a backbone it
    embeds stored features.

    Besides the general block an embedding may have a block for each of some attributes, by another
    linear head on the same features. The blocks' unit vectors are concatenated and divided by the
    square root of their number, so that the whole embedding is a unit vector too. `layout` has the
    columns of each block; `layout.weighted` scales the blocks of a query, so that one catalog is
    searched with any weights.

    Args:
        image: initial image head.
        text: initial text head.
        blocks: initial image and text head of each attribute's block, by attribute.
        backbone: the towers; None if only stored features are embedded.

    Attributes:
        stores_heads: whether a checkpoint has both heads, trained or not.
        chunk: items that the towers encode at a time while they are trained; None for the whole
            batch.
        last_batch: number of items in the batch that was encoded last.
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
        self.composer: nn.Module | None = None
        self.stores_heads = False
        self.backbone = backbone
        self.chunk: int | None = None
        self.last_batch = 0
        for name, pair in (blocks or {}).items():
            self._add_block(name, pair)

    @classmethod
    def from_backbone(cls, backbone: Backbone) -> "Retriever":
        """Create the untrained retriever of a backbone."""
        if not backbone.reads_text:
            width = int(backbone.clip.width)
            nothing = Projection(torch.zeros(width, 1), None)
            return cls(Projection.identity(width), nothing, backbone=backbone)
        image, text = backbone.image_projection, backbone.text_projection
        cut = image or text  # a tower without a projection ends in the other one's space
        width = len(cut.weight) if cut else _text_width(backbone)
        return cls(
            image or Projection.identity(width),
            text or Projection.identity(width),
            backbone=backbone,
        )

    @property
    def heads(self) -> Heads:
        """Copies of the current heads."""
        pairs = zip(_linear(self.block_images), _linear(self.block_texts), strict=True)
        blocks = {
            name: (Projection.from_linear(image), Projection.from_linear(text))
            for name, (image, text) in zip(self.block_names, pairs, strict=True)
        }
        return Heads(
            Projection.from_linear(self.image_head), Projection.from_linear(self.text_head), blocks
        )

    @property
    def layout(self) -> Layout:
        """The columns of an embedding that each block takes."""
        widths = {GENERAL: self.image_head.out_features}
        for name, head in zip(self.block_names, _linear(self.block_images), strict=True):
            widths[name] = head.out_features
        return Layout.from_widths(widths)

    @property
    def dim(self) -> int:
        """The dimension of an embedding."""
        return self.layout.dim

    def narrow(self, axes: Tensor) -> "Retriever":
        """Give the heads fewer dimensions.

        Args:
            axes: (d, D) orthonormal axes of the embedding, from `principal_axes`.

        Returns:
            The retriever itself.
        """
        image, text, _ = self.heads
        self.image_head, self.text_head = (make_head(project(head, axes)) for head in (image, text))
        return self

    def add_parts(self, spec: ModelSpec) -> "Retriever":
        """Add the attribute heads and the composer that a spec names.

        An attribute head is initialised with a subspace of the embedding. Heads of `spec.dim`
        dimensions that `narrow` has not made are zero, until weights are loaded.

        Args:
            spec: the spec whose `attribute_blocks` and `composer` are added.

        Returns:
            The retriever itself.

        Raises:
            ConfigError: a block has more dimensions than the general one; a composer beside
                attribute heads.
        """
        self.stores_heads = spec.dim is not None
        if spec.dim is not None and self.image_head.out_features != spec.dim:
            self.narrow(torch.zeros(spec.dim, self.image_head.out_features))
        image, text, _ = self.heads
        for number, (name, width) in enumerate(spec.block_widths.items()):
            if width > len(image.weight):
                raise ConfigError(
                    f"model.attribute_blocks.{name}={width}: it must be at most "
                    f"{len(image.weight)}, the width of the embedding itself"
                )
            seed = spec.seed + number
            heads = random_subspace(image, width, seed), random_subspace(text, width, seed)
            self._add_block(name, heads)
        self.composer = make_composer(
            spec.composer, len(image.weight), blocks=bool(spec.block_widths), seed=spec.seed
        )
        return self

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embed a batch.

        Returns:
            (B, D) image and (B, D) text embeddings, L2-normalised; a text embedding is zero where
            the item has no text, or the batch none at all.
        """
        images, texts = self.features(batch)
        embedded = self.embed_image(images)
        if texts is None:
            return embedded, torch.zeros_like(embedded)
        return embedded, self.embed_text(texts, batch["caption"] != UNKNOWN)

    def features(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Get the towers' features before their projections: stored in the batch, or computed.

        Returns:
            (B, F) image and (B, G) text features; None for a batch of photos alone.
        """
        if "image_features" in batch:
            return batch["image_features"], batch.get("text_features")
        assert self.backbone is not None, "photos need towers"
        self.last_batch = len(batch["images"])
        images = self._in_chunks(self.backbone.encode_image, batch["images"])
        if "tokens" not in batch:
            return images, None
        return images, self._in_chunks(self.backbone.encode_text, batch["tokens"])

    def embed_image(self, features: Tensor) -> Tensor:
        """Embed (B, F) image features: (B, D), L2-normalised."""
        return self._embed(features, self.image_head, self.block_images)

    def embed_text(self, features: Tensor, has_text: Tensor) -> Tensor:
        """Embed text features.

        Args:
            features: (B, G) float text features.
            has_text: (B,) bool; the embedding of an item without text is zero.

        Returns:
            (B, D) float, L2-normalised or zero.
        """
        return self._embed(features, self.text_head, self.block_texts) * has_text[:, None]

    def embed_queries(self, batch: Batch) -> Tensor:
        """Embed the texts of a batch's judged queries: (Q, D), L2-normalised; empty without any."""
        if "query_features" in batch:
            features = batch["query_features"]
        elif "query_tokens" in batch:
            assert self.backbone is not None, "texts need towers"
            features = self._in_chunks(self.backbone.encode_text, batch["query_tokens"])
        else:
            return torch.zeros(0, self.dim, device=self.device)
        has_text = torch.ones(len(features), dtype=torch.bool, device=features.device)
        return self.embed_text(features, has_text)

    def compose(self, photos: Tensor, texts: Tensor) -> Tensor:
        """Make composed queries of (Q, D) reference photos and (Q, D) texts: (Q, D), normalised."""
        if self.composer is None:
            return plain_mean(photos, texts)
        composed: Tensor = self.composer(photos, texts)
        return composed

    @classmethod
    def load(
        cls,
        source: str | Path | ModelSpec = TINY,
        *,
        device: str | torch.device = "auto",
        cache_dir: str | Path | None = None,
    ) -> "Retriever":
        """Load a model for encoding. Neither Lightning nor Hydra is imported.

        Args:
            source: a run folder (its last checkpoint), a checkpoint file, an exported folder,
                "tiny" for the small model that comes with fashret, or a `ModelSpec` for any
                open_clip model.
            device: device that encodes: auto, cpu, cuda, cuda:<number> or mps.
            cache_dir: folder for downloaded weights; by default FASHRET_CACHE or
                ~/.cache/fashret.

        Returns:
            The retriever with its towers, in evaluation mode.

        Raises:
            CheckpointError: the model is not found, or its weights cannot be read.
            ConfigError: the device is not available on this machine.

        Example:
            >>> Retriever.load("tiny", device="cpu").encode_text(["a red dress"]).shape
            (1, 256)
        """
        folder = default_cache_dir() if cache_dir is None else Path(cache_dir).expanduser()
        spec, state = resolve_source(source)
        retriever = cls.from_backbone(load_backbone(spec, folder))
        if state is not None:
            with_weights(state, retriever, spec)
        return retriever.eval().requires_grad_(False).to(pick_device(device))

    @property
    def device(self) -> torch.device:
        """The device of the model's weights."""
        return self.image_head.weight.device

    @torch.inference_mode()
    def embed_photos(self, photos: Sequence[Image.Image]) -> Tensor:
        """Embed one batch of upright RGB photos: (n, D) on the model's device, L2-normalised."""
        transform = self._towers("photos").photo_transform()
        prepared = torch.stack([transform(photo) for photo in photos]).to(self.device)
        return self.embed_image(self._towers("photos").encode_image(prepared))

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed one batch of texts: (n, D) float on the model's device, L2-normalised.

        Raises:
            ConfigError: the model has an image tower alone, or no towers.
        """
        towers = self._towers("texts")
        if not towers.reads_text:
            raise ConfigError("the model has no text tower: texts cannot be embedded, only photos")
        tokens = towers.tokenize(texts).to(self.device)
        has_text = torch.ones(len(texts), dtype=torch.bool, device=self.device)
        return self.embed_text(towers.encode_text(tokens), has_text)

    def _towers(self, what: str) -> Backbone:
        """The towers, or an error for a model of heads over embeddings that others computed."""
        if self.backbone is None:
            raise ConfigError(
                f"the model has heads over stored features alone: {what} cannot be embedded; give "
                "a query as an item of the catalog, or as an embedding of the model that made them"
            )
        return self.backbone

    def encode_image(
        self, photos: Photo | Sequence[Photo], *, batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode photos.

        Args:
            photos: one photo, or several: paths of files, PIL images, encoded bytes, or
                (H, W, 3) uint8 arrays.
            batch_size: photos that are encoded at a time.

        Returns:
            (len(photos), D) float32, L2-normalised, so that an inner product is a cosine.

        Raises:
            DataError: a photo cannot be read; the message names it.
        """
        return encode_in_batches(
            listed_photos(photos),
            lambda part: self.embed_photos([open_photo(p) for p in part]),
            batch_size=batch_size,
            what="photos",
            dim=self.dim,
        )

    def encode_text(
        self, texts: str | Sequence[str], *, batch_size: int = 256
    ) -> NDArray[np.float32]:
        """Encode texts.

        Args:
            texts: one text, or several.
            batch_size: texts that are encoded at a time.

        Returns:
            (len(texts), D) float32, L2-normalised.

        Raises:
            DataError: one of them is no text.
        """
        return encode_in_batches(
            listed_texts(texts), self.embed_texts, batch_size=batch_size, what="texts", dim=self.dim
        )

    def set_training(self, spec: ModelSpec, *, text: bool = True) -> None:
        """Unfreeze the parameters that the spec trains, and freeze all others.

        Args:
            spec: the spec whose `train`, `heads` and memory options apply.
            text: whether the text tower and its head are trained; a run that compares photos with
                photos leaves them as they are.

        Raises:
            ConfigError: train=blocks or lora with a tower that has no list of blocks; chunk or
                checkpointing with towers that do not support it.
        """
        if spec.train == "lora" and self.backbone is not None:
            add_adapters(
                self.backbone,
                self.backbone.blocks(),
                rank=spec.lora_rank,
                alpha=spec.lora_alpha,
            )
        self.requires_grad_(False)
        of_text = {id(p) for name, p in self.named_parameters() if is_text_weight(name)}
        for parameter in self._to_train(spec):
            if text or id(parameter) not in of_text:
                parameter.requires_grad_(True)
        if self.backbone is None:
            return
        self.chunk = spec.chunk
        has_batch_norm = any(_learns_statistics(m) for m in self.backbone.modules())
        if has_batch_norm and spec.chunk is not None:
            raise ConfigError(
                f"model.chunk={spec.chunk}: batch normalisation depends on the whole batch, which "
                "chunks would change; use model.train=lora, or a model without it"
            )
        if spec.checkpointing and not spec.frozen:
            if has_batch_norm:
                raise ConfigError(
                    "model.checkpointing=true: trained batch normalisation would count every "
                    "batch twice; use model.train=lora, or a model without it"
                )
            self.backbone.enable_gradient_checkpointing()

    @property
    def encodes_while_training(self) -> bool:
        """Whether training steps encode with the towers, not only with heads on stored features."""
        return self.backbone is not None

    def halve_chunk(self, size: int) -> int | None:
        """Halve the chunk size of encoding, to save memory.

        Args:
            size: number of items in a batch.

        Returns:
            The new chunk size, or None if it cannot be halved: there are no towers, one item is
            encoded at a time already, or batch normalisation depends on the whole batch.
        """
        chunk = min(self.chunk or size, size)
        if self.backbone is None or chunk < 2 or any(map(_learns_statistics, self.modules())):
            return None
        self.chunk = chunk // 2
        return self.chunk

    def learned_state(self) -> dict[str, Tensor]:
        """Return the weights that a checkpoint stores.

        They are the trained parameters, and the buffers of their modules, by name.
        """
        parameters = dict(self.named_parameters())
        frozen = {name for name, p in parameters.items() if not p.requires_grad}
        if self.stores_heads:  # heads of another width follow from the data, not from the towers
            frozen = {n for n in frozen if not n.startswith(("image_head.", "text_head."))}
        learning = {name.rpartition(".")[0] for name in parameters.keys() - frozen}
        return {
            name: value
            for name, value in self.state_dict().items()
            if name not in frozen and name.rpartition(".")[0] in learning
        }

    def train(self, mode: bool = True) -> "Retriever":
        """Set the training mode; frozen modules stay in evaluation mode and keep their statistics.

        Args:
            mode: True for training, False for evaluation.
        """
        super().train(mode)
        if mode and self.backbone is not None:
            for module in list(self.backbone.modules())[2:]:  # without itself and open_clip's model
                parameters = list(module.parameters(recurse=False))
                if parameters and not any(p.requires_grad for p in parameters):
                    module.training = False  # not eval(), which its children would follow
        return self

    def _in_chunks(self, encode: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Encode (B, ...) inputs; with gradients, keep the activations of one chunk at a time.

        The backward pass then encodes one chunk after another again: the same gradient, summed in
        another order.
        """
        if self.chunk is None or not torch.is_grad_enabled():
            return encode(inputs)
        parts = [checkpoint(encode, part, use_reentrant=False) for part in inputs.split(self.chunk)]
        return torch.cat(parts)

    def _embed(self, features: Tensor, head: nn.Linear, blocks: nn.ModuleList) -> Tensor:
        """Concatenate the heads' unit vectors, divided by the square root of their number."""
        features = features.to(head.weight.dtype)
        parts = [nn.functional.normalize(h(features), dim=-1) for h in (head, *blocks)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1) / math.sqrt(len(parts))

    def _add_block(self, name: str, pair: tuple[Projection, Projection]) -> None:
        self.block_names = (*self.block_names, name)
        self.block_images.append(make_head(pair[0]))
        self.block_texts.append(make_head(pair[1]))

    def _heads(self) -> list[tuple[nn.Linear, Projection | None]]:
        """List the general heads with their initial projections; None for the identity."""
        towers = self.backbone
        image = None if towers is None else towers.image_projection
        text = None if towers is None else towers.text_projection
        return [(self.image_head, image), (self.text_head, text)]

    def _to_train(self, spec: ModelSpec) -> Iterator[nn.Parameter]:
        yield from self.block_images.parameters()
        yield from self.block_texts.parameters()
        if self.composer is not None:
            yield from self.composer.parameters()
        if spec.heads:
            for head, projection in self._heads():
                # After a fully trained tower, a head that is initialised with the identity is
                # redundant, and makes training from random weights unstable.
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
    """Return whether a module is a trained batch normalisation; `Retriever.train` skips others."""
    return isinstance(module, _BatchNorm) and any(p.requires_grad for p in module.parameters())


def _text_width(backbone: Backbone) -> int:
    """Feature dimension of a model whose towers both end without a projection."""
    with torch.no_grad():
        device = next(backbone.parameters()).device
        return int(backbone.encode_text(backbone.tokenize(["a"]).to(device)).shape[1])


def _linear(heads: nn.ModuleList) -> list[nn.Linear]:
    """List the heads of a module list with their type."""
    return list(heads)  # type: ignore[arg-type]  # a ModuleList may hold any module
