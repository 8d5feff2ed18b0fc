"""Miners: which of the valid pairs a loss is to see, one idea a file."""

from fashret.miners.distance_weighted import DistanceWeightedMiner
from fashret.miners.hard import HardMiner
from fashret.miners.multi_similarity import MultiSimilarityMiner
from fashret.miners.none import NoMiner
from fashret.miners.pairs import PairMiner
from fashret.miners.semihard import SemiHardMiner

__all__ = [
    "DistanceWeightedMiner",
    "HardMiner",
    "MultiSimilarityMiner",
    "NoMiner",
    "PairMiner",
    "SemiHardMiner",
]
