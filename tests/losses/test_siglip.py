"""The sigmoid loss against a loop."""

import math

import pytest

from fashret.functional.relations import pair_relations
from fashret.losses import (
    SigLIP,
)
from support.batches import batch, embeddings


def test_siglip_equals_a_loop() -> None:
    rows, columns = embeddings(2)
    relations = pair_relations(batch(), batch())
    total = 0.0
    for i in range(6):
        for j in range(6):
            logit = 10.0 * float(rows[i] @ columns[j]) - 10.0
            if relations.positive[i, j]:
                total -= math.log(1 / (1 + math.exp(-logit)))
            elif relations.negative[i, j]:
                total -= math.log(1 / (1 + math.exp(logit)))
    assert float(SigLIP()(rows, columns, relations)) == pytest.approx(
        total / 5, rel=1e-5
    )  # item 5 has no pair
