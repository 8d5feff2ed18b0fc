"""Lightning callbacks: evaluation, checkpoints, logging, weight averaging, fault detection."""

from fashret.engine.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from fashret.engine.callbacks.dashboard import Dashboard
from fashret.engine.callbacks.data_mix import DataMix
from fashret.engine.callbacks.epoch_lines import EpochLines
from fashret.engine.callbacks.parameter_summary import ParameterSummary
from fashret.engine.callbacks.power_ema import PowerEMA
from fashret.engine.callbacks.progress_bar import CompactProgressBar
from fashret.engine.callbacks.requeue import Requeue
from fashret.engine.callbacks.retrieval import RetrievalEvaluation
from fashret.engine.callbacks.train_log import TrainLog
from fashret.engine.callbacks.watchdog import Watchdog
from fashret.engine.callbacks.wise_ft import WiseFT

__all__ = [
    "BestCheckpoint",
    "CompactProgressBar",
    "Dashboard",
    "DataMix",
    "EpochLines",
    "LastCheckpoint",
    "ParameterSummary",
    "PowerEMA",
    "Requeue",
    "RetrievalEvaluation",
    "TrainLog",
    "Watchdog",
    "WiseFT",
]
