"""Boosts and shares of values."""

import numpy as np
import pytest

from fashret.data.balance import Balance, Labels
from fashret.errors import ConfigError


def test_boosts_of_an_item_are_multiplied() -> None:
    described: Labels = {
        "category": (np.array([0, 1, 0, -1]), ["tees", "skirts"]),
        "neckline": (np.array([0, 1, -1, 0]), ["round", "square"]),
    }
    boosts = {"category": {"skirts": 3.0, "tees": 0.5}, "neckline": {"known": 2.0, "round": 5.0}}
    weights = Balance(boosts=boosts, most=1.0).weights(described)
    assert weights.tolist() == [0.5 * 2 * 5, 3 * 2, 0.5, 2 * 5]


def test_a_share_is_above_zero_and_at_most_all() -> None:
    for most in (0.0, -0.1, 1.01):
        with pytest.raises(ConfigError, match=f"most={most} must be above 0 and at most 1"):
            Balance(boosts={}, most=most)
    Balance(boosts={"category": {"tees": 0.01}}, most=1.0)
    Balance(boosts={"category": {"tees": 0.01}}, most=0.01)
