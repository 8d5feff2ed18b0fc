"""Smaller embeddings for evaluation: fewer dimensions, a byte or a bit for each."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.errors import ConfigError
from fashret.evaluation.ranking import SplitEmbeddings

BITS = {"float32": 32, "int8": 8, "binary": 1}


@dataclass(frozen=True, kw_only=True)
class Compression:
    """How embeddings are made smaller before they are compared.

    Queries are compressed as items are.

    Args:
        dim: the first dimensions are kept and normalised again, as Matryoshka training makes them
            (`loss=matryoshka`); null for all.
        vectors: float32; int8: each vector in 255 steps between its largest number and the
            negative of it; or binary: the signs of the vectors, without the mean of the evaluated
            photos or texts and after a random rotation, which gives every bit the same share; the
            score counts equal signs.
        rescore: the items for each hit that the smaller embeddings propose, and the whole ones
            score again, as an index does; 0 for none.
    """

    dim: int | None = None
    vectors: Literal["float32", "int8", "binary"] = "float32"
    rescore: int = 0

    def __post_init__(self) -> None:
        if self.dim is not None and self.dim < 1:
            raise ConfigError(f"compress.dim={self.dim}: must be at least 1, or null")
        if self.vectors not in BITS:
            raise ConfigError(f"compress.vectors={self.vectors}: must be {', '.join(BITS)}")
        if self.rescore < 0:
            raise ConfigError(f"compress.rescore={self.rescore}: must be at least 0")
        if self.rescore and not self:
            raise ConfigError(
                f"compress.rescore={self.rescore}: the embeddings are whole: give compress.dim or "
                "compress.vectors"
            )

    def __bool__(self) -> bool:
        return self.dim is not None or self.vectors != "float32"

    def __str__(self) -> str:
        parts = [] if self.dim is None else [f"{self.dim} dimensions"]
        parts += [] if self.vectors == "float32" else [self.vectors]
        return ", ".join(parts + ([f"{self.rescore} rescored"] if self.rescore else []))

    def item_bytes(self, dim: int) -> int:
        """Return the bytes of one vector of an embedding of `dim` dimensions."""
        bits = (self.dim or dim) * BITS[self.vectors]
        return -(-bits // 8) + (4 if self.vectors == "int8" else 0)  # and its largest number

    def apply(self, embedded: SplitEmbeddings) -> SplitEmbeddings:
        """Compress the embeddings of items and of judged queries.

        Raises:
            ConfigError: there are attribute heads, or `dim` is not below the dimension.
        """
        if not self:
            return embedded
        layout = embedded.layout
        if layout.attributes:
            raise ConfigError(
                "compress: embeddings with attribute heads are not compressed: their blocks are "
                f"weighted by each query ({', '.join(layout.attributes)})"
            )
        if self.dim is not None and self.dim >= layout.dim:
            raise ConfigError(
                f"compress.dim={self.dim}: must be below {layout.dim}, the dimension of the "
                "embedding"
            )
        image, text = self._short(embedded.image), self._short(embedded.text)
        judged = {name: self._short(part) for name, part in embedded.judged.items()}
        known = text.norm(dim=1) > 0
        text_mean = text[known].mean(dim=0) if bool(known.any()) else torch.zeros_like(text[0])
        coded = {name: self._coded(part, text_mean) for name, part in judged.items()}
        columns = dict.fromkeys(layout.columns, (0, self.dim or layout.dim))
        return replace(
            embedded,
            image=self._coded(image, image.mean(dim=0)),
            text=self._coded(text, text_mean) * known[:, None],
            layout=replace(layout, columns=columns),
            judged=coded,
            whole=embedded if self.rescore else None,
            candidates=self.rescore,
        )

    def _short(self, vectors: Tensor) -> Tensor:
        return vectors if self.dim is None else normalize(vectors[:, : self.dim], dim=-1)

    def _coded(self, vectors: Tensor, mean: Tensor) -> Tensor:
        """The vectors as the codes stand for them, L2-normalised."""
        if self.vectors == "int8":
            largest = vectors.abs().amax(dim=1, keepdim=True).clamp(min=1e-12)
            return normalize((vectors / largest * 127).round(), dim=-1)
        if self.vectors == "binary":
            rotated = (vectors - mean) @ _rotation(vectors.shape[1]).to(vectors)
            return torch.where(rotated > 0, 1.0, -1.0).to(vectors) / math.sqrt(vectors.shape[1])
        return vectors


def _rotation(dim: int) -> Tensor:
    """A random rotation, (dim, dim), the same every time."""
    noise = torch.randn(dim, dim, generator=torch.Generator().manual_seed(0))
    rotation: Tensor = torch.linalg.qr(noise)[0]
    return rotation
