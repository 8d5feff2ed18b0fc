"""Miners: selection of the valid pairs that a loss gets, one miner per file."""

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
