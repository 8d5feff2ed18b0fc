"""Matrix products in full float32, whatever lower precision the process allows elsewhere."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""oneDNN's product of a matrix and a transposed one, where torch was built with it."""

_FULL = ("none", "ieee")
"""Settings of a backend under which float32 products are computed in float32."""

_LOCK = threading.RLock()
"""The settings are the whole process's: searches of two threads must not restore each other's."""


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute float32 matrix products in float32, and restore the settings afterwards.

    TF32 and bfloat16 round the factors of a float32 product to 10 and 7 bits. They are allowed by
    `torch.set_float32_matmul_precision`, `torch.backends.*.matmul.fp32_precision`, or the
    environment variable TORCH_ALLOW_TF32_CUBLAS_OVERRIDE, which sets what a process begins with;
    autocast rounds as well.

    Args:
        device: the device that computes the products.
    """
    with ExitStack() as stack:
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(_LOCK)
        settings, common = _backend_settings(), _common_setting()
        if common == "highest" and all(precision in _FULL for _, precision in settings):
            yield
            return
        try:
            torch.set_float32_matmul_precision("highest")
            yield
        finally:
            if common is not None:
                torch.set_float32_matmul_precision(common)
            for matmul, precision in settings:
                matmul.fp32_precision = precision


def inner_products(queries: Tensor, rows: Tensor) -> Tensor:
    """Compute the inner products of queries and rows, `queries @ rows.T`.

    On a CPU float32 products are computed by oneDNN, which takes half the time of MKL's on AMD's
    processors; `benchmarks/evaluation.py` measures it. It has no gradient.

    Args:
        queries: (Q, D) floats.
        rows: (n, D) floats.

    Returns:
        (Q, n) floats.
    """
    both = (queries, rows)
    if (
        _ONEDNN is None
        or not all(part.device.type == "cpu" and part.dtype == torch.float32 for part in both)
        or not all(map(torch.numel, both))
        or not torch.backends.mkldnn.is_available()
    ):
        return queries.detach() @ rows.detach().T
    factors = [part.detach().contiguous() for part in both]
    product: Tensor = _ONEDNN(*factors, None, "none", [], "")
    return product


def _backend_settings() -> list[tuple[Any, str]]:
    """Matmul settings of each backend; empty for a torch version that has one for all."""
    backends = (torch.backends.cuda, torch.backends.mkldnn)
    # Any: `mkldnn.matmul` and `fp32_precision` came with torch 2.9
    matmuls: list[Any] = [getattr(backend, "matmul", None) for backend in backends]
    try:
        return [(matmul, matmul.fp32_precision) for matmul in matmuls if matmul is not None]
    except AttributeError:
        return []


def _common_setting() -> str | None:
    """Matmul precision of the process; None where the backends were set to different ones."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None
