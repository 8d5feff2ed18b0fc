"""Ways to say which items are relevant."""

import pytest
import torch

from fashret.functional.relevance import CodeRelevance, ListedRelevance, PartialMatch, Relevance
from fashret.types import UNKNOWN


@pytest.mark.parametrize("seed", range(3))
def test_ways_to_say_what_is_right_agree(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    of_query = torch.randint(-1, 4, (12,), generator=generator)
    of_document = torch.randint(-1, 4, (30,), generator=generator)
    right = (of_query[:, None] == of_document) & (of_query[:, None] != UNKNOWN)
    query, document = right.nonzero(as_tuple=True)
    shuffled = torch.randperm(len(query), generator=generator)
    by: list[Relevance] = [
        CodeRelevance(of_query, of_document),
        ListedRelevance(
            query[shuffled], document[shuffled], torch.ones(len(query)).double(), 12, 30
        ),
        PartialMatch(of_query[:, None], of_document[:, None]),
    ]
    rows = torch.randint(0, 30, (12, 7), generator=generator)
    for relevance in by:
        assert torch.equal(
            relevance.gains(torch.arange(12), rows).nan_to_num() > 0, right.gather(1, rows)
        )
        counts, ideal = relevance.ideal(5)
        assert torch.equal(counts, right.sum(dim=1))
        assert torch.equal(ideal.sum(dim=1).long(), right.sum(dim=1).clamp(max=5))
