"""Advice in error messages of failed runs: the last good weights, and what to try."""

import pytorch_lightning as pl


def advice(trainer: pl.Trainer) -> str:
    """Return advice about NaN or Inf in the loss, weights or embeddings."""
    return (
        f"{last_good_weights(trainer)} Try a smaller optimizer.lr, trainer.gradient_clip_val=1.0, "
        "or trainer.precision=32-true"
    )


def last_good_weights(trainer: pl.Trainer) -> str:
    """Return a sentence on where the weights of the last finished epoch are."""
    for callback in trainer.checkpoint_callbacks:
        path = getattr(callback, "last_model_path", "") or getattr(callback, "best_model_path", "")
        if path:
            return f"The weights of the last good epoch are in {path}."
    return "No epoch was finished before it, so there is no checkpoint."
