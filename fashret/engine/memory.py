"""Training that goes on in smaller chunks when memory runs out."""

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
    """The state of the random generators now, to compute the same again."""

    def __init__(self) -> None:
        self._cpu = torch.get_rng_state()
        self._gpu = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None

    def restore(self) -> None:
        """Set the generators back."""
        torch.set_rng_state(self._cpu)
        if self._gpu is not None:
            torch.cuda.set_rng_state(self._gpu)


def retry_forward(encode: Callable[[], T], retriever: Retriever, size: int, trainer: Any) -> T:
    """Encode a batch; where memory runs out, again in chunks of half the size.

    Several processes agree: where it fails in one of them, all of them encode again, so that none
    waits for the others in the exchange of embeddings behind it. One process raises the error on,
    for `retry_step`, which also sees the backward pass.

    Args:
        encode: the forward pass of the towers.
        retriever: whose chunk is halved.
        size: items in the batch.
        trainer: Lightning's.

    Raises:
        TrainingError: a smaller chunk is not possible.
    """
    if trainer.world_size == 1 or not retriever.encodes_while_training:
        return encode()
    state = RandomState()
    while True:
        made: T | None = None
        with suppress(torch.OutOfMemoryError):
            made = encode()
        if trainer.strategy.reduce_boolean_decision(made is not None, all=True):
            assert made is not None
            return made
        made = None
        _halve(retriever, size)
        state.restore()


def retry_step(
    closure: Callable[[], T], retriever: Retriever, module: pl.LightningModule
) -> Callable[[], T]:
    """A training step's closure that is run again with half the chunk where memory runs out.

    Gradients and random generators are set back first, so that the step is the one that would have
    been taken. Several processes cannot repeat a backward pass (gradients of some layers were
    exchanged already): there the error says what to set.

    Args:
        closure: forward, zero_grad and backward of one batch; it changes no weights.
        retriever: whose chunk is halved.
        module: whose gradients are reset.
    """
    if not retriever.encodes_while_training:
        return closure  # heads over stored features have nothing to encode in smaller chunks

    def run() -> T:
        state = RandomState()
        while True:
            try:
                return closure()
            except torch.OutOfMemoryError as e:
                alone = module.trainer.world_size == 1
                if not alone or module.trainer.accumulate_grad_batches > 1:
                    raise TrainingError(_advice(retriever)) from e
            module.zero_grad(set_to_none=True)
            _halve(retriever, retriever.last_batch)
            state.restore()

    return run


def _halve(retriever: Retriever, size: int) -> None:
    """Halve the chunk, and say so.

    Raises:
        TrainingError: it cannot be halved.
    """
    before = retriever.chunk or size
    after = retriever.halve_chunk(size)
    if after is None:
        raise TrainingError(_advice(retriever))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    log.warning(
        "out of memory at model.chunk=%d: retrying the batch with %d. Set model.chunk=%d to begin "
        "with it",
        min(before, size),
        after,
        after,
    )


def _advice(retriever: Retriever) -> str:
    """What to set where a smaller chunk does not help or is not possible."""
    chunk = "null" if retriever.chunk is None else str(retriever.chunk)
    return (
        f"out of memory while training, with batches of {retriever.last_batch} items per process "
        f"and model.chunk={chunk}. Set a smaller model.chunk (the gradient stays that of the whole "
        "batch), model.checkpointing=true, or a smaller data.batch_size"
    )
