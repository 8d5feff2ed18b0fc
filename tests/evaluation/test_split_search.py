"""Samples of queries."""

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fashret.evaluation.split_search import _stratified_sample

os.environ["NUMBA_DISABLE_JIT"] = "1"  # ranx would compile for a minute


def test_a_sample_keeps_every_categorys_share() -> None:
    category = np.repeat([0, 1, 2], [700, 250, 50])
    codes: Any = SimpleNamespace(labels={"category": (torch.from_numpy(category), [])})
    for seed in range(5):
        rows = _stratified_sample(np.arange(1000), 100, codes, np.random.default_rng(seed))
        assert len(np.unique(rows)) == 100
        assert np.bincount(category[rows]).tolist() == pytest.approx([70, 25, 5], abs=1)
