"""Retry training steps in smaller chunks when GPU memory runs out."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch

from fashret.errors import TrainingError
from fashret.models.retriever import Retriever

log = logging.getLogger(__name__)

T = TypeVar("T")


class RandomState:
    """A snapshot of the random generators, to repeat a computation exactly."""

    def __init__(self) -> None:
        self._cpu = torch.get_rng_state()
        self._gpu = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None

    def restore(self) -> None:
        """Set the generators to the snapshot."""
        torch.set_rng_state(self._cpu)
        if self._gpu is not None:
            torch.cuda.set_rng_state(self._gpu)


def retry_forward(encode: Callable[[], T], retriever: Retriever, size: int, trainer: Any) -> T:
    """Encode a batch; if memory runs out, retry in chunks of half the size.

    If it fails in one of several processes, all of them retry, so that none waits in the exchange
    of embeddings that follows. A single process raises the error, for `retry_step`, which covers
    the backward pass as well.

    Args:
        encode: runs the forward pass of the towers.
        retriever: the model whose chunk is halved.
        size: the number of items in the batch.
        trainer: Lightning's trainer.

    Raises:
        TrainingError: the chunk cannot be halved.
    """
    if trainer.world_size == 1 or not retriever.encodes_while_training:
        return encode()
    state = RandomState()
    while True:
        result: T | None = None
        with suppress(torch.OutOfMemoryError):
            result = encode()
        if trainer.strategy.reduce_boolean_decision(result is not None, all=True):
            assert result is not None
            return result
        result = None
        _halve(retriever, size)
        state.restore()


def retry_step(
    closure: Callable[[], T], retriever: Retriever, module: pl.LightningModule
) -> Callable[[], T]:
    """Wrap the closure of a training step so that it retries with half the chunk out of memory.

    Gradients and random generators are reset first, so that the step is the same. Several processes
    cannot repeat a backward pass (gradients of some layers have been exchanged already): they raise
    an error that says what to set.

    Args:
        closure: forward, zero_grad and backward of one batch; it changes no weights.
        retriever: the model whose chunk is halved.
        module: the module whose gradients are reset.
    """
    if not retriever.encodes_while_training:
        return closure  # heads over stored features have nothing to encode in smaller chunks

    def run() -> T:
        state = RandomState()
        while True:
            try:
                return closure()
            except torch.OutOfMemoryError as e:
                single_process = module.trainer.world_size == 1
                if not single_process or module.trainer.accumulate_grad_batches > 1:
                    raise TrainingError(_advice(retriever)) from e
            module.zero_grad(set_to_none=True)
            _halve(retriever, retriever.last_batch)
            state.restore()

    return run


def _halve(retriever: Retriever, size: int) -> None:
    """Halve the chunk, and log a warning.

    Raises:
        TrainingError: the chunk cannot be halved.
    """
    before = retriever.chunk or size
    after = retriever.halve_chunk(size)
    if after is None:
        raise TrainingError(_advice(retriever))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    log.warning(
        "out of memory at model.chunk=%d: retrying the batch with %d. Set model.chunk=%d to start "
        "with that",
        min(before, size),
        after,
        after,
    )


def _advice(retriever: Retriever) -> str:
    """The error message with the settings that save memory."""
    chunk = "null" if retriever.chunk is None else str(retriever.chunk)
    return (
        f"out of memory while training, with batches of {retriever.last_batch} items per process "
        f"and model.chunk={chunk}. Set a smaller model.chunk (the gradient stays that of the whole "
        "batch), model.checkpointing=true, or a smaller data.batch_size"
    )
