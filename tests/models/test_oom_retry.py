"""Encoding goes on where memory runs out."""

import logging

import pytest
import torch
from torch import Tensor

from fashret.models.oom_retry import OOMSafeEncoder


class Small:
    """Memory for so many items at once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.tried: list[int] = []

    def __call__(self, inputs: Tensor) -> Tensor:
        self.tried.append(len(inputs))
        if len(inputs) > self.most:
            raise torch.OutOfMemoryError("no more")
        return inputs * 2


def test_half_as_many_until_they_fit_and_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    encoder = Small(most=70)
    encode = OOMSafeEncoder(encoder, "cpu")
    inputs = torch.arange(256.0)[:, None]
    with caplog.at_level(logging.WARNING):
        assert torch.equal(encode(inputs), inputs * 2)
        assert torch.equal(encode(inputs[:100]), inputs[:100] * 2)
    assert encoder.tried == [256, 128, 64, 64, 64, 64, 64, 36]
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory at batch size 256: retrying with 128",
        "out of memory at batch size 128: retrying with 64",
    ]


def test_one_item_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        OOMSafeEncoder(Small(most=0), "cpu")(torch.ones(4, 1))
