"""The mean cosine of weighted blocks."""

import pytest
import torch
from torch.nn.functional import normalize

from fashret.functional.blocks import GENERAL
from support.attribute_blocks import LAYOUT, embeddings


def test_a_weighted_query_has_the_mean_cosine_of_the_blocks() -> None:
    queries, catalog = embeddings(4, 0), embeddings(6, 1)
    assert torch.allclose(queries.norm(dim=1), torch.ones(4))
    weights = {"neckline": 0.5, "material": 2.0, "sleeve": 9.0}
    found = LAYOUT.weighted(queries, weights) @ catalog.T
    for i in range(4):
        for j in range(6):
            cosines = {
                name: float(normalize(queries[i, a:b], dim=0) @ normalize(catalog[j, a:b], dim=0))
                for name, (a, b) in LAYOUT.columns.items()
            }
            expected = cosines[GENERAL] + 0.5 * cosines["neckline"] + 2.0 * cosines["material"]
            assert float(found[i, j]) == pytest.approx(expected / 3.5, abs=1e-6)
    plain = LAYOUT.weighted(queries, {}) @ catalog.T
    general = LAYOUT.block(queries) @ LAYOUT.block(catalog).T
    assert torch.allclose(plain, general, atol=1e-6)
