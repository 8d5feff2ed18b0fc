"""Models with an image tower alone: any image encoder of timm, such as DINOv3 or PE-Core."""

from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
from torch import Tensor, nn

from fashret.errors import ConfigError
from fashret.names import listed

OWN_WEIGHTS = "timm"
"""The tag of an encoder's own weights, which timm downloads."""


class ImageTower(nn.Module):
    """An image encoder of timm in place of an open_clip model; every text has the feature zero.

    Args:
        trunk: the encoder, without its classifier.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.visual = _Visual(trunk)

    @property
    def width(self) -> int:
        """The dimension F of a feature."""
        trunk: Any = self.visual.trunk
        return int(getattr(trunk, "head_hidden_size", None) or trunk.num_features)

    def encode_image(self, images: Tensor, normalize: bool = False) -> Tensor:
        """Encode (B, 3, H, W) float images to (B, F) features."""
        features: Tensor = self.visual(images)
        return nn.functional.normalize(features, dim=-1) if normalize else features

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Return (B, 1) zeros: there is no text tower."""
        return torch.zeros(len(tokens), 1, device=tokens.device)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block's activations in the backward pass."""
        trunk: Any = self.visual.trunk
        if hasattr(trunk, "set_grad_checkpointing"):
            trunk.set_grad_checkpointing(enable)


class _Visual(nn.Module):
    """The encoder, under the names that open_clip gives to the parts of an image tower."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        described: Any = timm.data  # not typed
        data = described.resolve_model_data_config(trunk)
        self.preprocess_cfg = {
            "size": tuple(data["input_size"][1:]),
            "mean": tuple(data["mean"]),
            "std": tuple(data["std"]),
            "interpolation": data["interpolation"],
        }

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.trunk(images)
        return features


def no_tokens(texts: list[str]) -> Tensor:
    """Tokenize texts for a model that reads none: (len(texts), 1) zeros."""
    return torch.zeros(len(texts), 1, dtype=torch.long)


def check_timm(name: str, pretrained: str | None, *, is_file: bool) -> None:
    """Check the name and the tag of an encoder.

    Args:
        name: timm's name of it.
        pretrained: `timm` for its own weights, a file, or None for random ones.
        is_file: whether `pretrained` is a file.

    Raises:
        ConfigError: timm has no such encoder, or the tag is another.
    """
    if not timm.is_model(name):
        near = listed(name, timm.list_models())
        raise ConfigError(
            f"model.name=timm:{name}: timm has no such encoder; similar names: {near}"
        )
    if pretrained not in (None, OWN_WEIGHTS) and not is_file:
        raise ConfigError(
            f"model.pretrained={pretrained}: weights of an encoder of timm are 'timm' (its own), "
            "a file, or null"
        )


def load_image_tower(name: str, pretrained: str | None, file: str | None, cache: str) -> ImageTower:
    """Create an encoder with its weights.

    Args:
        name: timm's name of it.
        pretrained: see `check_timm`.
        file: a file of weights in place of its own; None for none.
        cache: folder for downloaded weights.
    """
    Path(cache).mkdir(parents=True, exist_ok=True)
    trunk = timm.create_model(
        name,
        pretrained=pretrained == OWN_WEIGHTS,
        num_classes=0,
        checkpoint_path=file or "",
        cache_dir=cache,
    )
    return ImageTower(trunk)
