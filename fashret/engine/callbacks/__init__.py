"""Callbacks: what happens around the steps of a run."""

from fashret.engine.callbacks.best_checkpoint import BestCheckpoint
from fashret.engine.callbacks.dashboard import Dashboard
from fashret.engine.callbacks.data_mix import DataMix
from fashret.engine.callbacks.power_ema import PowerEMA
from fashret.engine.callbacks.requeue import Requeue
from fashret.engine.callbacks.retrieval import RetrievalEvaluation
from fashret.engine.callbacks.train_log import TrainLog
from fashret.engine.callbacks.watchdog import Watchdog
from fashret.engine.callbacks.wise_ft import WiseFT

__all__ = [
    "BestCheckpoint",
    "Dashboard",
    "DataMix",
    "PowerEMA",
    "Requeue",
    "RetrievalEvaluation",
    "TrainLog",
    "Watchdog",
    "WiseFT",
]
