"""A layout of attribute blocks, and embeddings in it."""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.functional.blocks import GENERAL, Layout

LAYOUT = Layout.from_widths({GENERAL: 5, "neckline": 3, "material": 2})


def embeddings(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    parts = [
        normalize(torch.randn(rows, end - start, generator=generator), dim=1)
        for start, end in LAYOUT.columns.values()
    ]
    return torch.cat(parts, dim=1) / math.sqrt(3)
