"""A metric of your own: a callback that reads each evaluation."""

import pytorch_lightning as pl

from fashret.engine.callbacks import RetrievalEvaluation
from fashret.errors import ConfigError


class AllRight(pl.Callback):
    """Logs `val/image/<relevance>/all_right@<k>`: how often all of the first k are right.

    Args:
        k: hits that must be right.
    """

    def __init__(self, k: int = 3) -> None:
        if k < 1:
            raise ConfigError(f"callbacks.all_right.k is {k}: it must be at least 1")
        self.k = k

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read what the queries found: `hits[mode, relevance]` is (queries, k) bool."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning's type has none
        judge = next(c for c in callbacks if isinstance(c, RetrievalEvaluation))
        if trainer.sanity_checking or judge.evaluation is None:
            return
        for (mode, relevance), right in judge.evaluation.hits.items():
            if mode == "image":
                share = right[:, : self.k].all(dim=1).float().mean()
                key = f"val/image/{relevance}/all_right@{self.k}"
                judge.means[key] = float(share)  # for train_log.jsonl
                pl_module.log(key, share)  # for TensorBoard
