"""Which model, from which weights, and what of it learns: what `model=` composes.

Light to build: the towers are loaded when something has to be encoded, so that a run over stored
features never reads them.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fashret.allowlist import target_faults
from fashret.errors import CheckpointError, ConfigError
from fashret.instantiate import instantiate

OWN = {path.name: path for path in (Path(__file__).parent / "architectures").iterdir()}
"""Architectures of our own, by name: bundles that open_clip's `local-dir:` reads."""

SHIPPED = "fashion"
"""The tag of the weights that lie in such a bundle."""

BUNDLE_CONFIG = "open_clip_config.json"
"""What a folder is known by that open_clip's `local-dir:` reads."""

VOCABULARY = "vocabulary.txt.gz"
"""The merges of a bundle whose tokenizer knows fewer words than CLIP's."""

_WEIGHTS = (".pt", ".pth", ".bin", ".safetensors")

TRAIN_MODES = ("heads", "blocks", "lora", "all")
DECODE_MODES = ("reduced", "exact")
PRECISIONS = ("float32", "bfloat16", "float16")
RESIZE_MODES = ("longest", "shortest", "squash")


@dataclass(kw_only=True)
class ModelSpec:
    """An open_clip model and what of it learns.

    Args:
        name: an open_clip architecture, one of ours, `hf-hub:<repository>` or
            `local-dir:<folder>`.
        pretrained: a tag of open_clip (`fashion` for fashret-tiny), a local file of weights, or
            null for random weights. Must be null with `hf-hub:` and `local-dir:`, which carry
            their weights.
        train: heads, blocks (the heads and the last blocks of each tower), lora (the heads and
            low-rank adapters in every block: Hu et al., LoRA, 2021) or all.
        train_blocks: how many blocks of each tower, for train=blocks.
        lora_rank: of the adapters, for train=lora.
        lora_alpha: what they add is multiplied by this over the rank.
        attribute_blocks: a block beside the embedding for each of these attributes, and its width;
            null for none.
        heads: false leaves the projections as they are; with train=heads nothing then learns.
        resize: how a photo becomes a square: longest (the whole garment, padded), shortest
            (CLIP's own crop of the middle) or squash.
        fill: the grey of the padding, 0 to 255.
        seed: of random weights.
        decode: reduced decodes a JPEG that is much larger than the towers' input no larger than
            they need (twice the input); exact decodes all there is.
        precision: of the arithmetic in which a catalog is encoded: float32, or bfloat16 or float16
            by autocast, faster on a GPU that has them. Towers that learn follow trainer.precision.
        chunk: items whose activations are held at once while towers learn; the others' are computed
            again in the backward pass, so that the batch of a contrastive loss may be larger than
            what fits (Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited
            Setup, 2021); null for the whole batch.
        checkpointing: whether each block's activations are computed again in the backward pass
            (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016).
        compile: whether torch.compile is given the image tower.
    """

    name: str = "fashret-tiny"
    pretrained: str | None = SHIPPED
    train: str = "heads"
    train_blocks: int = 2
    heads: bool = True
    resize: str = "longest"
    fill: int = 255
    seed: int = 0
    attribute_blocks: Mapping[str, int] | None = None
    decode: str = "reduced"
    precision: str = "float32"
    lora_rank: int = 8
    lora_alpha: float = 16.0
    chunk: int | None = None
    checkpointing: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        _one_of("model.train", self.train, TRAIN_MODES)
        _one_of("model.resize", self.resize, RESIZE_MODES)
        _one_of("model.decode", self.decode, DECODE_MODES)
        _one_of("model.precision", self.precision, PRECISIONS)
        if self.train == "lora" and find_spec("peft") is None:
            raise ConfigError(
                'model.train=lora needs another package (peft): pip install "fashret[lora]"'
            )
        if self.train == "blocks" and self.train_blocks < 1:
            raise ConfigError(f"model.train_blocks is {self.train_blocks}: it must be >= 1")
        if self.lora_rank < 1:
            raise ConfigError(f"model.lora_rank is {self.lora_rank}: it must be >= 1")
        if self.chunk is not None and self.chunk < 1:
            raise ConfigError(f"model.chunk is {self.chunk}: it must be >= 1, or null")
        for name, width in self.block_widths.items():
            if width < 1:
                raise ConfigError(f"model.attribute_blocks.{name}={width}: it must be at least 1")
        if self.carries_weights and self.pretrained is not None:
            raise ConfigError(
                f"model.pretrained={self.pretrained}: '{self.name}' carries its own weights, set "
                "model.pretrained=null"
            )
        if self.looks_like_a_file and not Path(str(self.pretrained)).expanduser().is_file():
            raise CheckpointError(
                f"model.pretrained={self.pretrained} is no file; it takes a tag of open_clip "
                "(such as openai), a local file of weights, or null"
            )

    @property
    def block_widths(self) -> Mapping[str, int]:
        """The width of each attribute's block."""
        return self.attribute_blocks or {}

    @property
    def frozen(self) -> bool:
        """Whether the towers stay as they are, so that features can be stored."""
        return self.train == "heads"

    @property
    def learns(self) -> bool:
        """Whether anything is trained at all."""
        return self.heads or not self.frozen or bool(self.block_widths)

    @property
    def random(self) -> bool:
        """Whether the towers begin without weights."""
        return self.pretrained is None and not self.carries_weights

    @property
    def carries_weights(self) -> bool:
        """Whether the name itself says where the weights are."""
        return self.name.startswith(("hf-hub:", "local-dir:"))

    @property
    def own(self) -> Path | None:
        """The bundle of an architecture of ours."""
        return OWN.get(self.name)

    @property
    def folder(self) -> Path | None:
        """The bundle on disk that the architecture is read from."""
        if self.name.startswith("local-dir:"):
            return Path(self.name.removeprefix("local-dir:")).expanduser()
        return self.own

    @property
    def looks_like_a_file(self) -> bool:
        """Whether `pretrained` names a file, not a tag."""
        if self.pretrained is None:
            return False
        path = Path(self.pretrained).expanduser()
        return path.suffix in _WEIGHTS or path.is_file()

    def identity(self, cache_dir: Path) -> dict[str, Any]:
        """Everything that could change a feature: the part of a catalog's key that is the model.

        A file of weights counts by its content; its hash is kept in the cache, by path, size and
        time, since a large one takes seconds.
        """
        files = [] if self.folder is None else sorted(self.folder.glob("*.*"))
        bundle = {p.name: _file_hash(p, cache_dir) for p in files if p.suffix not in _WEIGHTS}
        weights: object = self.pretrained
        if self.looks_like_a_file:
            weights = _file_hash(Path(str(self.pretrained)).expanduser(), cache_dir)
        elif self.random:
            weights = {"random": self.seed}
        elif self.folder is not None:
            weights = {p.name: _file_hash(p, cache_dir) for p in files if p.suffix in _WEIGHTS}
        return {
            "architecture": self.name,
            "bundle": bundle,
            "weights": weights,
            "resize": self.resize,
            "fill": self.fill if self.resize == "longest" else None,
            "decode": self.decode,
            "precision": self.precision,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], name: str) -> "ModelSpec":
        """Make the spec that a checkpoint's configuration holds, which may be somebody else's.

        Args:
            config: as `models.checkpoint.read_checkpoint` gives it.
            name: what messages call the checkpoint.

        Raises:
            CheckpointError: there is none, or it names a target that is not allowed.
        """
        node = config.get("model")
        if not isinstance(node, dict):
            raise CheckpointError(f"{name}: the checkpoint names no model")
        if faults := list(target_faults(node, "model")):
            lines = "\n".join(f"  - {fault}" for fault in faults)
            raise CheckpointError(
                f"{name}: the configuration in the checkpoint is refused:\n{lines}"
            )
        spec = instantiate(node, "model")
        if not isinstance(spec, cls):
            raise CheckpointError(f"{name}: the checkpoint's model is a {type(spec).__name__}")
        return spec

    @property
    def label(self) -> str:
        """The model as a part of a file name."""
        return self.name.split(":")[-1].rstrip("/").split("/")[-1]


def _one_of(key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{key}={value}: it must be one of {', '.join(allowed)}")


def _file_hash(path: Path, cache_dir: Path) -> str:
    """The hash of a file's content, from the cache where the file has not changed."""
    stat = path.stat()
    stamp = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    name = hashlib.blake2b(stamp.encode(), digest_size=16).hexdigest()
    known = cache_dir / "hashes" / name
    if known.is_file():
        return known.read_text()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known.parent.mkdir(parents=True, exist_ok=True)
    partial = known.with_name(f"{name}.{os.getpid()}")
    partial.write_text(digest)
    partial.replace(known)
    return digest
