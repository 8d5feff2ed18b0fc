"""Encoding that retries with smaller batches when memory runs out."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class OOMSafeEncoder:
    """An encoder that retries with half the batch size when the device runs out of memory.

    Args:
        encode: encodes (B, ...) inputs to (B, F) features, each row independently.
        device: device of the encoder.

    Raises:
        torch.OutOfMemoryError: a single item does not fit into memory.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], device: torch.device | str) -> None:
        self._encode = encode
        self._device = device
        self._max_batch: int | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """Encode (B, ...) inputs from any device."""
        while True:
            size = min(self._max_batch or len(inputs), len(inputs))
            try:
                parts = (part.to(self._device, non_blocking=True) for part in inputs.split(size))
                return torch.cat([self._encode(part) for part in parts])
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                self._max_batch = size // 2
            # outside the handler, whose traceback would keep the memory in use
            log.warning("out of memory at batch size %d: retrying with %d", size, self._max_batch)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
