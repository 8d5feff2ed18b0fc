"""Embeddings of earlier batches, as further columns of a loss."""

import torch
from torch import Tensor, nn

from fashret.types import UNKNOWN, Batch

_CODES = ("index", "product", "caption", "role", "asked")


class MemoryBank(nn.Module):
    """The latest embeddings and their codes, first in, first out.

    Towers change slowly, so that embeddings of earlier batches are nearly those of now, and cost no
    forward pass (Wang et al., Cross-Batch Memory for Embedding Learning, 2020). A checkpoint has
    them, so that a resumed run goes on with the same ones.

    Args:
        size: number of embeddings that are kept, at least 1.
        dim: dimension of an embedding.
    """

    columns: Tensor
    codes: Tensor
    added: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("columns", torch.zeros(size, dim))
        self.register_buffer("codes", torch.full((size, len(_CODES)), UNKNOWN))
        self.register_buffer("added", torch.zeros((), dtype=torch.long))

    def stored(self, like: Batch) -> tuple[Tensor, Batch]:
        """Return the embeddings that are kept, (n, D), and their codes.

        Args:
            like: a batch; the codes that it has are returned.
        """
        size = min(int(self.added), len(self.columns))
        codes = self.codes[:size].clone().unbind(dim=1)
        batch = Batch()
        for name, values in zip(_CODES, codes, strict=True):
            if name in like:
                batch[name] = values  # type: ignore[literal-required]  # a name of _CODES
        return self.columns[:size].clone(), batch  # autograd needs them unchanged

    @torch.no_grad()
    def add(self, columns: Tensor, batch: Batch) -> None:
        """Store the embeddings of a batch in the place of the oldest ones.

        Args:
            columns: (B, D) float embeddings.
            batch: their codes.
        """
        size = len(self.columns)
        columns = columns[-size:].detach()
        unknown = torch.full((len(batch["index"]),), UNKNOWN, device=columns.device)
        codes = torch.stack([batch.get(name, unknown) for name in _CODES], dim=1)[-size:]  # type: ignore[misc]  # names of codes
        where = (self.added + torch.arange(len(columns), device=columns.device)) % size
        self.columns[where] = columns.to(self.columns.dtype)
        self.codes[where] = codes
        self.added += len(columns)
