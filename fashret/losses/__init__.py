"""Losses: `loss(rows, columns, relations) -> scalar`, one loss per file."""

from fashret.losses.anchor_to_baseline import AnchorToBaseline
from fashret.losses.arcface import ArcFace
from fashret.losses.attribute_blocks import AttributeBlocks
from fashret.losses.attribute_classification import AttributeClassification
from fashret.losses.circle import Circle
from fashret.losses.composite import Composite
from fashret.losses.distillation import Distillation
from fashret.losses.hard_negatives import HardNegatives
from fashret.losses.infonce import InfoNCE
from fashret.losses.matryoshka import Matryoshka
from fashret.losses.multi_similarity import MultiSimilarity
from fashret.losses.pair_tiers import PairTiers
from fashret.losses.pml import PML
from fashret.losses.proxy_anchor import ProxyAnchor
from fashret.losses.siglip import SigLIP
from fashret.losses.supcon import SupCon
from fashret.losses.triplet import Triplet

__all__ = [
    "PML",
    "AnchorToBaseline",
    "ArcFace",
    "AttributeBlocks",
    "AttributeClassification",
    "Circle",
    "Composite",
    "Distillation",
    "HardNegatives",
    "InfoNCE",
    "Matryoshka",
    "MultiSimilarity",
    "PairTiers",
    "ProxyAnchor",
    "SigLIP",
    "SupCon",
    "Triplet",
]
