"""Encoding as many items at once as there is memory for."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class WithinMemory:
    """An encoder that goes on with half as many items at a time when memory runs out.

    Args:
        encode: (B, ...) -> (B, F), each row by itself.
        device: where it computes.

    Raises:
        torch.OutOfMemoryError: one item alone is too much.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], device: torch.device | str) -> None:
        self._encode = encode
        self._device = device
        self._most: int | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """Encode (B, ...) inputs from any device."""
        while True:
            size = min(self._most or len(inputs), len(inputs))
            try:
                parts = (part.to(self._device, non_blocking=True) for part in inputs.split(size))
                return torch.cat([self._encode(part) for part in parts])
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                self._most = size // 2
            # outside the handler, whose traceback would hold what has to be freed
            log.warning("out of memory at batch size %d: retrying with %d", size, self._most)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
