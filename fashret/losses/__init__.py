"""Losses: `loss(rows, columns, relations) -> scalar`, one idea a file."""

from fashret.losses.infonce import InfoNCE
from fashret.losses.siglip import SigLIP

__all__ = ["InfoNCE", "SigLIP"]
