"""Queries that search a gallery, on data whose numbers were worked out by hand."""

import pytest

from fashret.errors import ConfigError
from fashret.evaluation.benchmarks import (
    QueryToGallery,
)
from support.benchmarks import at, inputs, means_of


def test_query_to_gallery_by_hand() -> None:
    on = inputs(
        at(0, 50, 90, 5, 20, 55, 85, 180),
        role=["query", "query", "query", "gallery", "gallery", "gallery", "gallery", "gallery"],
        product=["a", "b", "c", "b", "a", "c", "d", "b"],
    )
    # 0 finds 5, 20 (its own, rank 2); 50 finds 55, 20, 85, 5 (rank 4); 90 finds 85, 55 (rank 2)
    found = means_of(QueryToGallery(split="test", k=[1, 2, 4], label="inshop"), on)
    assert found == {"query-to-gallery": {"hit@1": 0.0, "hit@2": 2 / 3, "hit@4": 1.0}}


def test_a_set_without_roles_is_told_so() -> None:
    with pytest.raises(ConfigError, match="no item of the split has the role query"):
        means_of(QueryToGallery(split="test", k=[1], label="inshop"), inputs(at(0, 1)))
