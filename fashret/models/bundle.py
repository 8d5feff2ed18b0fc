"""Export of a retriever as a folder that open_clip reads: `local-dir:<folder>`."""

import json
import logging
import os
import shutil
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import _get_hf_config
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save_file
from torch import Tensor

from fashret.errors import CheckpointError, ConfigError
from fashret.models.retriever import Retriever
from fashret.models.spec import BUNDLE_CONFIG, VOCABULARY, ModelSpec

log = logging.getLogger(__name__)

WEIGHTS = "open_clip_model.safetensors"
"""The weights file of a bundle."""

_OWN = (BUNDLE_CONFIG, WEIGHTS, VOCABULARY, "tokenizer*", "special_tokens_map.json", "vocab*",
        "merges.txt", "added_tokens.json", "spiece.model", "chat_template*")  # fmt: skip
"""The files of a bundle, its tokenizer's among them."""


def write_bundle(
    retriever: Retriever,
    spec: ModelSpec,
    folder: Path,
    *,
    half: bool,
    log_scale: Tensor | None = None,
) -> None:
    """Write architecture, preprocessing, tokenizer and weights, with the heads folded in.

    Args:
        retriever: a retriever with its towers; modified in place, do not use it afterwards.
        spec: the spec that the retriever was created from.
        folder: folder to write; a bundle that is in it already is replaced.
        half: whether weights are stored as float16.
        log_scale: scalar, logarithm of the loss's scale, stored as the model's `logit_scale`;
            None leaves the model's own.

    Raises:
        ConfigError: the folder has other files in it, or a head cannot be stored in the model.
    """
    folder = folder.absolute()
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConfigError(f"out={folder} is a file or a link; give a new folder")
    held = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    others = [name for name in held if not any(fnmatch(name, own) for own in _OWN)]
    if others or (held and BUNDLE_CONFIG not in held):
        first = ", ".join(sorted(others or held)[:3])
        raise ConfigError(f"out={folder} holds other files ({first}); give a new folder")
    backbone = retriever.backbone
    assert backbone is not None, "a bundle needs towers"
    config = {"model_cfg": _model_config(spec), "preprocess_cfg": _preprocess(backbone.preprocess)}
    if spec.dim is not None:
        config["model_cfg"] = {**config["model_cfg"], "embed_dim": spec.dim}
    clip: Any = backbone.fold(retriever.image_head, retriever.text_head)
    if log_scale is not None:
        clip.logit_scale.data.copy_(log_scale)
    state = {
        name: value.detach()
        .cpu()
        .contiguous()
        .to(torch.float16 if _is_large(value, half) else value.dtype)
        for name, value in clip.state_dict().items()
    }
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    (partial / BUNDLE_CONFIG).write_text(json.dumps(config, indent=4) + "\n")
    save_file(state, str(partial / WEIGHTS))
    (partial / WEIGHTS).chmod(0o644)  # safetensors makes it readable for its owner only
    if spec.folder is not None and (spec.folder / VOCABULARY).is_file():
        shutil.copyfile(spec.folder / VOCABULARY, partial / VOCABULARY)
    if isinstance(backbone.tokenizer, HFTokenizer):
        backbone.tokenizer.tokenizer.save_pretrained(str(partial))
    if folder.is_dir():  # an older bundle, none of whose files may stay
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old)
    else:
        partial.rename(folder)


def _model_config(spec: ModelSpec) -> dict[str, Any]:
    """Read the architecture as open_clip's configuration."""
    if spec.folder is not None:
        config: dict[str, Any] = json.loads((spec.folder / BUNDLE_CONFIG).read_text())["model_cfg"]
    elif spec.name.startswith("hf-hub:"):
        config = _get_hf_config(spec.name.removeprefix("hf-hub:"))["model_cfg"]
    else:
        config = open_clip.get_model_config(spec.name)
    if not config:
        raise CheckpointError(f"open_clip has no configuration of the architecture '{spec.name}'")
    return config


def _preprocess(settings: Any) -> dict[str, Any]:
    """List the preprocessing settings that do not follow from the architecture."""
    return {name: value for name, value in asdict(settings).items() if name not in ("size", "mode")}


def _is_large(value: Tensor, half: bool) -> bool:
    return half and value.is_floating_point() and value.ndim > 0
