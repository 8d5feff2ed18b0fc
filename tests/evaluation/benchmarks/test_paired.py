"""Photos and their own captions, on data whose numbers were worked out by hand."""

from fashret.evaluation.benchmarks import (
    Paired,
)
from support.benchmarks import at, inputs, means_of


def test_paired_by_hand() -> None:
    on = inputs(at(0, 40, 90), at(30, 10, 85), caption=["x", "x", None])
    # text 30 finds 40, 0: rank 2; text 10 finds 0, 40: rank 2; the third has no text
    found = means_of(Paired(split=None, k=[1, 2]), on)
    assert found["text-to-image"] == {"hit@1": 0.0, "hit@2": 1.0}
    assert found["image-to-text"] == {"hit@1": 0.0, "hit@2": 1.0}
    other = means_of(Paired(split=None, k=[1]), inputs(at(0, 40), at(3, 50)))
    assert other["text-to-image"] == other["image-to-text"] == {"hit@1": 1.0}
