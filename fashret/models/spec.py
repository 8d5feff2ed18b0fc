"""The specification of a model, its weights, and the parts of it that are trained: `model=`.

A spec is cheap to create: the towers are loaded when something has to be encoded, so that a run
over stored features never reads them.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fashret.allowlist import target_faults
from fashret.data.embeddings import embeddings_files, has_text_embeddings
from fashret.errors import CheckpointError, ConfigError
from fashret.instantiate import instantiate

SHIPPED_BUNDLES = {path.name: path for path in (Path(__file__).parent / "architectures").iterdir()}
"""Folders of the models that come with fashret, by name: bundles for open_clip's `local-dir:`."""

SHIPPED = "fashion"
"""The tag of the weights in these bundles."""

BUNDLE_CONFIG = "open_clip_config.json"
"""The file by which a folder is recognised as a bundle for open_clip's `local-dir:`."""

VOCABULARY = "vocabulary.txt.gz"
"""The BPE merges of a bundle whose tokenizer has fewer words than CLIP's."""

TIMM = "timm:"
"""The prefix of the name of an image encoder of timm."""

EMBEDDINGS = "embeddings:"
"""The prefix of the name of embeddings that others computed, in place of towers."""

_WEIGHTS = (".pt", ".pth", ".bin", ".safetensors")

TRAIN_MODES = ("heads", "blocks", "lora", "all")
DECODE_MODES = ("reduced", "exact")
COMPOSERS = ("sum", "gated")
PRECISIONS = ("float32", "bfloat16", "float16")
RESIZE_MODES = ("longest", "shortest", "squash")


@dataclass(kw_only=True)
class ModelSpec:
    """An open_clip model, and the parts of it that are trained.

    Args:
        name: an open_clip architecture, `fashret-tiny`, `hf-hub:<repository>`, `local-dir:<folder>`
            or `timm:<encoder>`, an image tower alone.
        pretrained: a tag of open_clip (`fashion` for fashret-tiny, `timm` for an encoder of timm),
            a local file of weights, or null for random weights. Must be null with `hf-hub:` and
            `local-dir:`, which come with their weights.
        train: parts that are trained: heads, blocks (the heads and the last transformer blocks of
            each tower), lora (the heads and low-rank adapters in every block: Hu et al., LoRA,
            2021) or all.
        train_blocks: number of transformer blocks of each tower that are trained, at least 1, for
            train=blocks.
        lora_rank: LoRA rank of the adapters, at least 1, for train=lora.
        lora_alpha: LoRA alpha; the update is scaled by lora_alpha / lora_rank.
        attribute_blocks: dimensions of an extra embedding block by attribute, each with its own
            linear head; null for none.
        dim: dimension of the trained embedding, fewer than the towers'; the heads begin with the
            axes that keep most of the similarities of the training items. null for the towers'.
        heads: whether the projections (heads) are trained; with train=heads and false, nothing is
            trained.
        resize: how a photo is made square: longest (the full photo, padded), shortest (CLIP's
            centre crop) or squash.
        fill: grey level of the padding, 0 to 255.
        seed: seed of random weights.
        decode: reduced (decode a large JPEG at a smaller size, no less than twice the towers'
            input) or exact (decode at full size).
        precision: floating-point type in which a catalog is encoded: float32, or bfloat16 or
            float16 by autocast, faster on a GPU that supports them. Training follows
            trainer.precision.
        chunk: items whose activations are in memory at once while towers are trained; the others'
            are recomputed in the backward pass, so that the batch of a contrastive loss may be
            larger than what fits into memory (Gao et al., Scaling Deep Contrastive Learning Batch
            Size under Memory Limited Setup, 2021); null for the whole batch.
        checkpointing: gradient checkpointing: recompute each block's activations in the backward
            pass (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016).
        compile: whether the image tower is compiled with torch.compile.
        composer: what makes one query of a reference photo and words: sum (two weights that
            learn), gated (a layer as in Combiner), or null: the plain mean, which learns nothing.
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
    composer: str | None = None
    dim: int | None = None

    def __post_init__(self) -> None:
        _one_of("model.train", self.train, TRAIN_MODES)
        _one_of("model.resize", self.resize, RESIZE_MODES)
        _one_of("model.decode", self.decode, DECODE_MODES)
        _one_of("model.precision", self.precision, PRECISIONS)
        if self.composer is not None:
            _one_of("model.composer", self.composer, COMPOSERS)
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
        if self.dim is not None and self.dim < 1:
            raise ConfigError(f"model.dim={self.dim}: must be at least 1, or null")
        if self.dim is not None and not self.heads:
            raise ConfigError(f"model.dim={self.dim} makes new heads: it needs model.heads=true")
        for name, width in self.block_widths.items():
            if width < 1:
                raise ConfigError(f"model.attribute_blocks.{name}={width}: it must be at least 1")
        if self.carries_weights and self.pretrained is not None:
            raise ConfigError(
                f"model.pretrained={self.pretrained}: '{self.name}' comes with its own weights, "
                "set model.pretrained=null"
            )
        if self.pretrained_is_file and not Path(str(self.pretrained)).expanduser().is_file():
            raise CheckpointError(
                f"model.pretrained={self.pretrained}: file not found; give a tag of open_clip "
                "(such as openai), a local file of weights, or null"
            )

    @property
    def block_widths(self) -> Mapping[str, int]:
        """Dimensions of each attribute's embedding block, by attribute."""
        return self.attribute_blocks or {}

    @property
    def frozen(self) -> bool:
        """Whether the towers are not trained, so that their features can be stored."""
        return self.train == "heads"

    @property
    def learns(self) -> bool:
        """Whether any part of the model is trained."""
        further = bool(self.block_widths) or self.composer is not None
        return self.heads or not self.frozen or further

    @property
    def random(self) -> bool:
        """Whether the towers start from random weights."""
        carries = self.carries_weights or self.embeddings is not None
        return self.pretrained is None and not carries

    @property
    def carries_weights(self) -> bool:
        """Whether the name is a bundle with weights: `hf-hub:` or `local-dir:`."""
        return self.name.startswith(("hf-hub:", "local-dir:"))

    @property
    def reads_text(self) -> bool:
        """Whether texts have embeddings; an encoder of timm has no text tower."""
        if self.embeddings is not None:
            return has_text_embeddings(self.embeddings)
        return self.timm_name is None

    @property
    def embeddings(self) -> str | None:
        """The path of imported embeddings; None for a model with towers."""
        return self.name.removeprefix(EMBEDDINGS) if self.name.startswith(EMBEDDINGS) else None

    @property
    def has_towers(self) -> bool:
        """Whether photos and texts can be encoded; imported embeddings come without a model."""
        return self.embeddings is None

    def over_embeddings(self, path: str | None) -> "ModelSpec":
        """Copy the spec, with heads over imported embeddings in place of towers.

        Args:
            path: see `fashret.data.embeddings.read_embeddings`; None returns the spec itself.

        Raises:
            ConfigError: the spec trains towers.
        """
        if path is None or self.embeddings == path:
            return self
        if not self.frozen:
            raise ConfigError(
                f"model.train={self.train}: data.embeddings has no towers to train; use "
                "model.train=heads"
            )
        return replace(self, name=f"{EMBEDDINGS}{path}", pretrained=None)

    @property
    def timm_name(self) -> str | None:
        """The encoder's name in timm; None for another model."""
        return self.name.removeprefix(TIMM) if self.name.startswith(TIMM) else None

    @property
    def shipped_bundle(self) -> Path | None:
        """The folder of a model that comes with fashret; None for any other model."""
        return SHIPPED_BUNDLES.get(self.name)

    @property
    def folder(self) -> Path | None:
        """The bundle's folder on disk; None for a model that is not a local bundle."""
        if self.name.startswith("local-dir:"):
            return Path(self.name.removeprefix("local-dir:")).expanduser()
        return self.shipped_bundle

    @property
    def pretrained_is_file(self) -> bool:
        """Whether `pretrained` is the path of a weights file, not a tag."""
        if self.pretrained is None:
            return False
        path = Path(self.pretrained).expanduser()
        return path.suffix in _WEIGHTS or path.is_file()

    def identity(self, cache_dir: Path) -> dict[str, Any]:
        """Collect everything that could change a feature: the model's part of a catalog's key.

        A file of weights counts by the hash of its content. The hash is cached by the file's path,
        size and time of change, since that of a large file takes seconds.

        Args:
            cache_dir: folder of the cache.
        """
        if self.embeddings is not None:
            found = embeddings_files(self.embeddings)
            root = Path(self.embeddings).expanduser().absolute()
            hashes = {
                os.path.relpath(path.absolute(), root): _file_hash(path, cache_dir)
                for path in found
            }
            return {"embeddings": hashes or self.embeddings}
        files = [] if self.folder is None else sorted(self.folder.glob("*.*"))
        bundle = {p.name: _file_hash(p, cache_dir) for p in files if p.suffix not in _WEIGHTS}
        weights: object = self.pretrained
        if self.pretrained_is_file:
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
        """Create the spec from a checkpoint's configuration, which need not be trusted.

        Args:
            config: the configuration, from `models.checkpoint.read_checkpoint`.
            name: name of the checkpoint in messages.

        Raises:
            CheckpointError: it has no model, or names a target that is not allowed.
        """
        node = config.get("model")
        if not isinstance(node, dict):
            raise CheckpointError(f"{name}: the checkpoint's configuration has no model")
        if faults := list(target_faults(node, "model")):
            lines = "\n".join(f"  - {fault}" for fault in faults)
            raise CheckpointError(
                f"{name}: the configuration in the checkpoint is refused:\n{lines}"
            )
        spec = instantiate(node, "model")
        if not isinstance(spec, cls):
            raise CheckpointError(f"{name}: the checkpoint's model is a {type(spec).__name__}")
        data = config.get("data")
        imported = data.get("embeddings") if isinstance(data, dict) else None
        return spec if imported is None else spec.over_embeddings(str(imported))

    @property
    def label(self) -> str:
        """Short name of the model for file names."""
        last = self.name.split(":")[-1].rstrip("/").split("/")[-1]
        return last if self.embeddings is None else f"embeddings-{Path(last).stem}"


def _one_of(key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{key}={value}: it must be one of {', '.join(allowed)}")


def _file_hash(path: Path, cache_dir: Path) -> str:
    """Hash a file's content; unchanged files are looked up in the cache."""
    stat = path.stat()
    stamp = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    name = hashlib.blake2b(stamp.encode(), digest_size=16).hexdigest()
    cached = cache_dir / "hashes" / name
    if cached.is_file():
        return cached.read_text()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    cached.parent.mkdir(parents=True, exist_ok=True)
    partial = cached.with_name(f"{name}.{os.getpid()}")
    partial.write_text(digest)
    partial.replace(cached)
    return digest
