"""What watches a training run."""

from fashret.engine.callbacks.retrieval import RetrievalEvaluation
from fashret.engine.callbacks.train_log import TrainLog

__all__ = ["RetrievalEvaluation", "TrainLog"]
