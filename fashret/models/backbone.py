"""The two towers of an open_clip model, cut before their last linear map."""

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
from fashret.models.projections import cut_image_projection, cut_text_projection
from fashret.models.spec import OWN, SHIPPED, ModelSpec
from fashret.models.text_trimming import encode_short, is_causal
from fashret.models.tokenizer import open_tokenizer
from fashret.names import listed

PhotoTransform = Callable[[Image.Image], Tensor]
"""A photo to a (3, H, W) float tensor."""


_ENOUGH = 2
"""Times the input's size: resized from there a photo is nearly what it is from its whole size."""

_TEXTS = 64
"""Texts that are trimmed together."""

_TOWERS = ("image", "text")

_TOKENIZING = threading.Lock()
"""Tokenizers of transformers change their own state while they work."""


class Backbone(nn.Module):
    """An open_clip model whose towers end before their own linear projections.

    Attributes:
        preprocess: the settings of the photos that the towers were trained on.
        least: pixels that are enough of a photo's shorter side; None decodes all there is.
        precision: in which a catalog is encoded.
        trimmed_together: texts that are trimmed to the longest of them; None for a whole batch,
            which costs more and computes as often whatever the batch.
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
        self.least = None if exact else _ENOUGH * side
        self.precision = precision
        self.trimmed_together: int | None = _TEXTS
        # Any: the attributes of open_clip's models are not typed
        self.clip: Any = clip
        self._cuts = cut_image_projection(self.clip.visual), cut_text_projection(self.clip)
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        # Convolutions are faster over pixels whose channels lie side by side.
        convolves = any(isinstance(module, nn.BatchNorm2d) for module in clip.modules())
        self._layout = torch.channels_last if convolves else torch.contiguous_format
        clip.to(memory_format=self._layout)

    @property
    def image_projection(self) -> Projection | None:
        """The map that was cut off the image tower.

        None where it has none that is linear and last (SigLIP): its features are its embedding.
        """
        return None if self._cuts[0] is None else self._cuts[0].projection

    @property
    def text_projection(self) -> Projection | None:
        """The same of the text tower."""
        return None if self._cuts[1] is None else self._cuts[1].projection

    def fold(self, image_head: nn.Linear, text_head: nn.Linear) -> nn.Module:
        """The open_clip model with the heads as its projections; the backbone is used up.

        Raises:
            ConfigError: a head that learned stands on a tower that has no projection.
        """
        merge_adapters(self)
        for cut, head, what in zip(self._cuts, (image_head, text_head), _TOWERS, strict=True):
            if cut is not None:
                cut.put_back(head)
            elif not torch.equal(head.weight.cpu(), torch.eye(head.out_features)):
                raise ConfigError(
                    f"the {what} tower ends without a linear projection, so the head that learned "
                    "on it has no place in an open_clip model"
                )
        clip: nn.Module = self.clip
        return clip

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float -> (B, F) features."""
        images = images.contiguous(memory_format=self._layout)
        features: Tensor = self.clip.encode_image(images, normalize=False)
        return features

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(B, L) long -> (B, G) features.

        Where every token sees only those before it and the last is the feature, texts are sorted
        by length and what follows the longest of a few is left away: the features are the same.
        """
        if not is_causal(self.clip):
            features: Tensor = self.clip.encode_text(tokens, normalize=False)
            return features
        lengths, order = (tokens.argmax(dim=1) + 1).sort()
        few = self.trimmed_together or len(tokens)
        parts = [
            encode_short(self.clip, tokens[some, : int(longest[-1])])
            for some, longest in zip(order.split(few), lengths.split(few), strict=True)
        ]
        return torch.cat(parts)[order.argsort()]

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids of texts, (len(texts), L) long."""
        with _TOKENIZING:
            tokens: Tensor = self.tokenizer(list(texts))
        return tokens

    def photo_transform(self) -> PhotoTransform:
        """How a photo is shown to the image tower when it is judged."""
        transform: PhotoTransform = image_transform_v2(self.preprocess, is_train=False)
        return transform

    def blocks(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """The blocks of the image tower and of the text tower, in order.

        Raises:
            ConfigError: a tower is built in a way that has no list of blocks.
        """
        return _blocks(self.clip.visual), _blocks(getattr(self.clip, "text", self.clip))

    def depths(self) -> dict[str, int]:
        """How far each parameter is from the heads.

        0 is behind the last block, 1 the last block, and a tower's deepest what stands before its
        first (embeddings, patches) or whose place is not known.

        Raises:
            ConfigError: see `blocks`.
        """
        of_block: dict[int, int] = {}
        towers = self.blocks()
        for blocks in towers:
            for depth, block in enumerate(reversed(blocks), start=1):
                of_block |= {id(parameter): depth for parameter in block.parameters()}
        image, text = (len(blocks) + 1 for blocks in towers)
        first = {id(p): image for p in self.clip.visual.parameters()}
        return {
            name: 0 if any(part in name for part in _BEHIND) else first.get(id(p), text)
            for name, p in self.named_parameters()
        } | {name: of_block[id(p)] for name, p in self.named_parameters() if id(p) in of_block}

    def checkpoint_activations(self) -> None:
        """Compute each block's activations again in the backward pass.

        Raises:
            ConfigError: the image tower does not know how.
        """
        self.clip.set_grad_checkpointing(True)
        visual: nn.Module = self.clip.visual
        if not any(getattr(module, "grad_checkpointing", False) for module in visual.modules()):
            raise ConfigError(
                f"model.checkpointing=true: the image tower ({type(visual).__name__}) cannot "
                "compute its activations again; model.chunk=<items> saves memory with any tower"
            )


def load_backbone(spec: ModelSpec, cache_dir: Path) -> Backbone:
    """Build the towers and load their weights.

    Raises:
        ConfigError: there is no such architecture.
        CheckpointError: the weights cannot be had, or are of another architecture.
    """
    check_name(spec)
    weights_dir = str(cache_dir / "weights")
    logging.getLogger().addFilter(_expected_random)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            clip: Any = _create(spec, weights_dir)
    except Exception as e:  # torch and the hub have no one error for weights that do not load
        raise CheckpointError(_cannot_load(spec, e)) from e
    finally:
        logging.getLogger().removeFilter(_expected_random)
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

    Raises:
        CheckpointError: it needs another package, or files that cannot be had.
    """
    try:
        return open_tokenizer(spec, str(cache_dir / "weights"))
    except ImportError as e:
        raise CheckpointError(
            f"the tokenizer of '{spec.name}' needs another package ({e}): "
            'pip install "fashret[siglip]"'
        ) from e
    except Exception as e:  # the hub has no one error either
        raise CheckpointError(_cannot_load(spec, e)) from e


def _create(spec: ModelSpec, weights_dir: str) -> nn.Module:
    """The towers with their weights."""
    file = os.path.expanduser(str(spec.pretrained)) if spec.looks_like_a_file else None
    if spec.own is None:
        clip: nn.Module = open_clip.create_model(
            spec.name,
            pretrained=file or spec.pretrained,
            cache_dir=weights_dir,
            require_pretrained=not spec.random,
        )
        return clip
    shipped = spec.pretrained == SHIPPED
    clip = open_clip.create_model(
        f"local-dir:{spec.own}", load_weights=shipped, require_pretrained=shipped
    )
    if file:
        open_clip.load_checkpoint(clip, file)
    return clip


def check_name(spec: ModelSpec) -> None:
    """Raise ConfigError for an architecture or a tag that open_clip does not know."""
    if spec.carries_weights:
        return
    names = [*OWN, *open_clip.list_models()]
    if spec.name not in names:
        raise ConfigError(
            f"model.name={spec.name}: open_clip has no such architecture; "
            f"near: {listed(spec.name, names)}"
        )
    tags = [SHIPPED] if spec.own else open_clip.list_pretrained_tags_by_model(spec.name)
    if spec.pretrained and not spec.looks_like_a_file and spec.pretrained not in tags:
        raise ConfigError(
            f"model.pretrained={spec.pretrained} is neither a file nor a tag of '{spec.name}', "
            f"which has {listed(spec.pretrained, tags)}"
        )


def _expected_random(record: logging.LogRecord) -> bool:
    """Leave out open_clip's warning about random weights where they were asked for."""
    return "No pretrained weights loaded" not in record.getMessage()


def _cannot_load(spec: ModelSpec, error: Exception) -> str:
    if spec.looks_like_a_file:
        return (
            f"model.pretrained={spec.pretrained} cannot be loaded into '{spec.name}': "
            f"{str(error)[:300]}"
        )
    what = spec.name if spec.carries_weights else f"{spec.name} with weights '{spec.pretrained}'"
    return (
        f"{what} cannot be loaded ({str(error)[:200]}). Without a network there are three ways: "
        "run once where there is one and copy the cache (paths.cache_dir); give a local file of "
        "weights, model.pretrained=<file>, or a bundle, model.name=local-dir:<folder>; or train a "
        "model that needs none, model=tiny"
    )


def _blocks(tower: nn.Module) -> list[nn.Module]:
    """The repeated blocks of a tower."""
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


_BEHIND = ("ln_post", "ln_final", "attnpool", "attn_pool", "trunk.norm", "fc_norm", "final_norm")
"""What stands between the last block and the head, by parts of its parameters' names."""

_BLOCK_LISTS = (
    "transformer.resblocks",
    "trunk.blocks",
    "trunk.stages",
    "transformer.encoder.layer",
    "transformer.layers",
)
