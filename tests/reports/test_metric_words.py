"""Names of metrics in words."""

import doctest

from fashret.reports import metric_words
from fashret.reports.metric_words import in_words


def test_metrics_have_names_in_words() -> None:
    assert doctest.testmod(metric_words).attempted == 5
    assert doctest.testmod(metric_words).failed == 0
    assert in_words("fused/product/hit@10") == "photo + text -> same product, hit@10"
    nested = in_words("image/category/precision@10[a/b [c]]")
    assert nested == "photo -> same category: a/b [c], precision@10"
    assert in_words("all/marqo/recall@1") == "all/marqo/recall@1"
