"""The two towers of an open_clip model, or one of timm, cut before their last linear map."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from PIL import Image
from torch import Tensor, nn

from fashret.errors import CheckpointError, ConfigError
from fashret.models.adapters import merge_adapters
from fashret.models.heads import Projection
from fashret.models.image_tower import ImageTower, check_timm, load_image_tower, no_tokens
from fashret.models.projections import cut_image_projection, cut_text_projection
from fashret.models.spec import SHIPPED, SHIPPED_BUNDLES, ModelSpec
from fashret.models.text_trimming import encode_short, is_causal
from fashret.models.tokenizer import open_tokenizer
from fashret.names import listed

PhotoTransform = Callable[[Image.Image], Tensor]
"""A photo to a (3, H, W) float tensor."""


_DECODE_FACTOR = 2
"""Photos are decoded at no less than this times the input's size: resized from there a photo is
nearly the same as resized from its full size."""

_TEXT_CHUNK = 64
"""Texts per forward pass, trimmed to the longest of them."""

_TOWERS = ("image", "text")

_TOKENIZER_LOCK = threading.Lock()
"""Tokenizers of transformers change their own state while they work: one thread at a time."""


class Backbone(nn.Module):
    """An open_clip model whose towers end before their own linear projections.

    Args:
        clip: the open_clip model; modified in place.
        tokenizer: its tokenizer, from `models.tokenizer`.
        preprocess: open_clip's settings of image preprocessing.
        exact: decode photos at full size instead of reduced size.
        precision: floating-point type in which a catalog is encoded.

    Attributes:
        preprocess: open_clip's settings of image preprocessing.
        min_side: JPEGs may be decoded at reduced size, with at least this many pixels on the
            shorter side; None decodes at full size.
        precision: floating-point type in which a catalog is encoded.
        text_chunk: texts per forward pass, trimmed to the chunk's longest; None: one pass per
            batch, the same number of passes on every process.
        reads_text: whether there is a text tower; without one every text has the feature zero.
    """

    def __init__(
        self,
        clip: nn.Module,
        tokenizer: Any,
        preprocess: PreprocessCfg,
        *,
        exact: bool = False,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        size = preprocess.size
        side = size if isinstance(size, int) else max(size)
        self.min_side = None if exact else _DECODE_FACTOR * side
        self.precision = precision
        self.text_chunk: int | None = _TEXT_CHUNK
        # Any: the attributes of open_clip's models are not typed
        self.clip: Any = clip
        self.reads_text = not isinstance(clip, ImageTower)
        self._cuts = cut_image_projection(self.clip.visual), cut_text_projection(self.clip)
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        # Convolutions are faster in the channels-last memory format.
        convolves = any(isinstance(module, nn.BatchNorm2d) for module in clip.modules())
        self._layout = torch.channels_last if convolves else torch.contiguous_format
        clip.to(memory_format=self._layout)

    @property
    def image_projection(self) -> Projection | None:
        """The linear projection that was cut off the image tower.

        None if the tower does not end in a linear map (SigLIP): its features are its embedding.
        """
        return None if self._cuts[0] is None else self._cuts[0].projection

    @property
    def text_projection(self) -> Projection | None:
        """The linear projection that was cut off the text tower; see `image_projection`."""
        return None if self._cuts[1] is None else self._cuts[1].projection

    def fold(self, image_head: nn.Linear, text_head: nn.Linear) -> nn.Module:
        """Put the heads into the open_clip model as its projections; do not use the backbone after.

        Args:
            image_head: trained head of the image tower.
            text_head: trained head of the text tower.

        Returns:
            The open_clip model.

        Raises:
            ConfigError: a head was trained on a tower that has no linear projection.
        """
        merge_adapters(self)
        for cut, head, what in zip(self._cuts, (image_head, text_head), _TOWERS, strict=True):
            if cut is not None:
                cut.put_back(head)
            elif not torch.equal(head.weight.cpu(), torch.eye(head.out_features)):
                raise ConfigError(
                    f"the {what} tower ends without a linear projection, so the head that was "
                    "trained on it cannot be stored in an open_clip model"
                )
        clip: nn.Module = self.clip
        return clip

    def encode_image(self, images: Tensor) -> Tensor:
        """Encode (B, 3, H, W) float images to (B, F) features."""
        images = images.contiguous(memory_format=self._layout)
        features: Tensor = self.clip.encode_image(images, normalize=False)
        return features

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Encode (B, L) long tokens to (B, G) features.

        For causal text towers, texts are sorted by length and encoded in chunks without the
        padding after the longest one: the features are the same.
        """
        if not is_causal(self.clip):
            features: Tensor = self.clip.encode_text(tokens, normalize=False)
            return features
        lengths, order = (tokens.argmax(dim=1) + 1).sort()
        chunk = self.text_chunk or len(tokens)
        parts = [
            encode_short(self.clip, tokens[rows, : int(ascending[-1])])
            for rows, ascending in zip(order.split(chunk), lengths.split(chunk), strict=True)
        ]
        return torch.cat(parts)[order.argsort()]

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Tokenize texts: (len(texts), L) long token ids."""
        with _TOKENIZER_LOCK:
            tokens: Tensor = self.tokenizer(list(texts))
        return tokens

    def photo_transform(self) -> PhotoTransform:
        """Make the transform of a photo to the image tower's input, without augmentation."""
        transform: PhotoTransform = image_transform_v2(self.preprocess, is_train=False)
        return transform

    def blocks(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """List the transformer blocks of the image tower and of the text tower, in order.

        Raises:
            ConfigError: a tower's architecture has no list of blocks.
        """
        image = _blocks(self.clip.visual)
        return image, _blocks(getattr(self.clip, "text", self.clip)) if self.reads_text else []

    def depths(self) -> dict[str, int]:
        """Depth of each parameter by its name, counted from the heads.

        0 is after the last block, 1 the last block; the largest depth of a tower is for parameters
        before its first block (embeddings, patches) and for those of unknown depth.

        Raises:
            ConfigError: see `blocks`.
        """
        block_depths: dict[int, int] = {}
        towers = self.blocks()
        for blocks in towers:
            for depth, block in enumerate(reversed(blocks), start=1):
                block_depths |= {id(parameter): depth for parameter in block.parameters()}
        image, text = (len(blocks) + 1 for blocks in towers)
        first = {id(p): image for p in self.clip.visual.parameters()}
        return {
            name: 0 if any(part in name for part in _AFTER_BLOCKS) else first.get(id(p), text)
            for name, p in self.named_parameters()
        } | {
            name: block_depths[id(p)]
            for name, p in self.named_parameters()
            if id(p) in block_depths
        }

    def enable_gradient_checkpointing(self) -> None:
        """Recompute each block's activations in the backward pass instead of storing them.

        Raises:
            ConfigError: the image tower does not support gradient checkpointing.
        """
        self.clip.set_grad_checkpointing(True)
        visual: nn.Module = self.clip.visual
        if not any(getattr(module, "grad_checkpointing", False) for module in visual.modules()):
            raise ConfigError(
                f"model.checkpointing=true: the image tower ({type(visual).__name__}) does not "
                "support gradient checkpointing; model.chunk=<items> saves memory with any tower"
            )


def load_backbone(spec: ModelSpec, cache_dir: Path) -> Backbone:
    """Build the towers and load their weights.

    Args:
        spec: the model to load.
        cache_dir: folder of the cache; downloaded weights go to `weights` in it.

    Raises:
        ConfigError: open_clip does not have the architecture.
        CheckpointError: the weights are not available, or are of another architecture.
    """
    if spec.embeddings is not None:
        raise ConfigError(
            f"data.embeddings={spec.embeddings} comes without its model: photos and texts that are "
            "not in it cannot be embedded"
        )
    check_name(spec)
    weights_dir = str(cache_dir / "weights")
    logging.getLogger().addFilter(_not_random_weights)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            clip: Any = _create(spec, weights_dir)
    except Exception as e:  # torch and the hub raise various errors for weights that do not load
        raise CheckpointError(_cannot_load(spec, e)) from e
    finally:
        logging.getLogger().removeFilter(_not_random_weights)
    tokenizer = load_tokenizer(spec, cache_dir)
    changes = {"resize_mode": spec.resize, "fill_color": spec.fill}
    settings = merge_preprocess_dict(clip.visual.preprocess_cfg, changes)
    if spec.compile:
        clip.visual.compile()
    return Backbone(
        clip,
        tokenizer,
        PreprocessCfg(**settings),
        exact=spec.decode == "exact",
        precision=getattr(torch, spec.precision),
    )


def load_tokenizer(spec: ModelSpec, cache_dir: Path) -> Any:
    """Load open_clip's tokenizer of the text tower, without the towers.

    Args:
        spec: the model that the tokenizer belongs to.
        cache_dir: folder of the cache; downloaded files go to `weights` in it.

    Raises:
        CheckpointError: it needs another package, or files that are not available.
    """
    if not spec.reads_text:
        return no_tokens
    try:
        return open_tokenizer(spec, str(cache_dir / "weights"))
    except ImportError as e:
        raise CheckpointError(
            f"the tokenizer of '{spec.name}' needs another package ({e}): "
            'pip install "fashret[siglip]"'
        ) from e
    except Exception as e:  # the hub raises various errors
        raise CheckpointError(_cannot_load(spec, e)) from e


def _create(spec: ModelSpec, weights_dir: str) -> nn.Module:
    """Create the open_clip model with its weights."""
    file = os.path.expanduser(str(spec.pretrained)) if spec.pretrained_is_file else None
    if spec.timm_name is not None:
        return load_image_tower(spec.timm_name, spec.pretrained, file, weights_dir)
    if spec.shipped_bundle is None:
        clip: nn.Module = open_clip.create_model(
            spec.name,
            pretrained=file or spec.pretrained,
            cache_dir=weights_dir,
            require_pretrained=not spec.random,
        )
        return clip
    shipped = spec.pretrained == SHIPPED
    clip = open_clip.create_model(
        f"local-dir:{spec.shipped_bundle}", load_weights=shipped, require_pretrained=shipped
    )
    if file:
        open_clip.load_checkpoint(clip, file)
    return clip


def check_name(spec: ModelSpec) -> None:
    """Raise ConfigError for an architecture or a tag that open_clip, or timm, does not have."""
    if spec.carries_weights:
        return
    if spec.timm_name is not None:
        check_timm(spec.timm_name, spec.pretrained, is_file=spec.pretrained_is_file)
        return
    names = [*SHIPPED_BUNDLES, *open_clip.list_models()]
    if spec.name not in names:
        raise ConfigError(
            f"model.name={spec.name}: open_clip has no such architecture; "
            f"similar names: {listed(spec.name, names)}"
        )
    tags = [SHIPPED] if spec.shipped_bundle else open_clip.list_pretrained_tags_by_model(spec.name)
    if spec.pretrained and not spec.pretrained_is_file and spec.pretrained not in tags:
        raise ConfigError(
            f"model.pretrained={spec.pretrained} is neither a file nor a tag of '{spec.name}', "
            f"which has {listed(spec.pretrained, tags)}"
        )


def _not_random_weights(record: logging.LogRecord) -> bool:
    """Filter out open_clip's warning about random weights, which the user requested."""
    return "No pretrained weights loaded" not in record.getMessage()


def _cannot_load(spec: ModelSpec, error: Exception) -> str:
    if spec.pretrained_is_file:
        return (
            f"model.pretrained={spec.pretrained} cannot be loaded into '{spec.name}': "
            f"{str(error)[:300]}"
        )
    what = spec.name if spec.carries_weights else f"{spec.name} with weights '{spec.pretrained}'"
    return (
        f"{what} cannot be loaded ({str(error)[:200]}). Without a network there are three ways: "
        "run once with a network and copy the cache (paths.cache_dir); give a local file of "
        "weights, model.pretrained=<file>, or a bundle, model.name=local-dir:<folder>; or train a "
        "model that needs no download, model=tiny"
    )


def _blocks(tower: nn.Module) -> list[nn.Module]:
    """List the transformer blocks, or stages, of a tower."""
    for path in _BLOCK_LISTS:
        module: Any = tower
        for name in path.split("."):
            module = getattr(module, name, None)
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(module) > 1:
            return list(module)
    stages = [getattr(tower, f"layer{i}", None) for i in range(1, 5)]  # open_clip's ResNet
    if all(stage is not None for stage in stages):
        return [stage for stage in stages if stage is not None]
    raise ConfigError(
        f"{type(tower).__name__} has no list of blocks, which model.train=blocks and lora, "
        "optimizer=layerwise and trainer=fsdp need: use model.train=all with another optimizer"
    )


_AFTER_BLOCKS = (
    *("ln_post", "ln_final", "attnpool", "attn_pool"),
    *("trunk.norm", "fc_norm", "final_norm"),
)
"""Parts of the names of parameters between the last block and the head."""

_BLOCK_LISTS = (
    "transformer.resblocks",
    "trunk.blocks",
    "trunk.stages",
    "transformer.encoder.layer",
    "transformer.layers",
)
