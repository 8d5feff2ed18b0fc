"""Losses: `loss(rows, columns, relations) -> scalar`, one idea a file."""

from fashret.losses.attribute_classification import AttributeClassification
from fashret.losses.composite import Composite
from fashret.losses.infonce import InfoNCE
from fashret.losses.siglip import SigLIP

__all__ = ["AttributeClassification", "Composite", "InfoNCE", "SigLIP"]
