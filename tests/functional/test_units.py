"""Rankings of products by their best photo, against a loop over everything."""

import pytest
import torch
from torch import Tensor

from fashret.functional.topk import Excluded
from fashret.functional.units import topk_units, units_of
from fashret.types import UNKNOWN


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor, Excluded]:
    """Few distinct values, so that scores tie; units of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randint(-2, 3, (7, 3), generator=generator).float()
    gallery = torch.randint(-2, 3, (40, 3), generator=generator).float()
    sizes = torch.tensor([25, 1, 1, 6, 3, 1, 3])
    units = torch.arange(7).repeat_interleave(sizes)[torch.randperm(40, generator=generator)]
    chosen = torch.rand(7, 40, generator=generator) < 0.2
    return queries, gallery, units, Excluded(*chosen.nonzero(as_tuple=True))


def by_hand(
    queries: Tensor, gallery: Tensor, units: Tensor, excluded: Excluded, k: int
) -> list[list[int]]:
    out = set(zip(excluded.queries.tolist(), excluded.rows.tolist(), strict=True))
    found = []
    for q in range(len(queries)):
        scores = (gallery @ queries[q]).tolist()
        order = sorted(range(len(gallery)), key=lambda i: (-scores[i], i))
        best: dict[int, int] = {}
        for row in order:
            if (q, row) not in out:
                best.setdefault(int(units[row]), row)
        rows = list(best.values())[:k]
        found.append(rows + [-1] * (k - len(rows)))
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [1, 2, 5, 7, 12])
def test_a_unit_is_ranked_by_its_best_item(seed: int, k: int) -> None:
    queries, gallery, units, excluded = drawn(seed)
    ranking = topk_units(queries, gallery, k, units, exclude=excluded)
    assert ranking.rows.tolist() == by_hand(queries, gallery, units, excluded, k)
    for row, scores, query in zip(ranking.rows, ranking.scores, queries, strict=True):
        real = row >= 0
        assert torch.equal(scores[real], (gallery[row[real]] @ query).double())
        assert bool((scores[~real] == -torch.inf).all())


def test_items_without_a_code_are_units_of_their_own() -> None:
    units = units_of(torch.tensor([4, UNKNOWN, 4, 0, UNKNOWN]))
    assert len(units.unique()) == 4
    assert units[0] == units[2]
    assert sorted(units.unique().tolist()) == [0, 1, 2, 3]
    assert len(units_of(torch.tensor([UNKNOWN, UNKNOWN])).unique()) == 2
    assert len(units_of(torch.zeros(0, dtype=torch.long))) == 0


def test_an_empty_gallery_gives_nothing() -> None:
    nothing = topk_units(torch.ones(2, 3), torch.zeros(0, 3), 2, torch.zeros(0, dtype=torch.long))
    assert nothing.rows.tolist() == [[-1, -1], [-1, -1]]
