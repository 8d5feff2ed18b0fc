import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.functional.similarity import Fused
from fashret.functional.topk import Excluded, rank_rows, topk


def oracle(
    queries: Tensor, catalog: Tensor, k: int, barred: set[tuple[int, int]]
) -> list[list[int]]:
    """Every score in float64, one by one; ties by the smaller row."""
    found = []
    for q, query in enumerate(queries.double()):
        scored = [
            (-float((query * row).sum()), i)
            for i, row in enumerate(catalog.double())
            if (q, i) not in barred
        ]
        found.append([i for _, i in sorted(scored)[:k]])
    return found


@pytest.fixture
def vectors() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    catalog = normalize(torch.randn(203, 24, generator=generator), dim=1)
    catalog[40:60] = catalog[7]  # many exact ties
    return normalize(torch.randn(31, 24, generator=generator), dim=1), catalog


@pytest.mark.parametrize("chunks", [(1, 1), (5, 17), (31, 203), (64, 64), (7, 1000)])
def test_topk_is_exact_for_any_chunk_size(
    vectors: tuple[Tensor, Tensor], chunks: tuple[int, int]
) -> None:
    queries, catalog = vectors
    queries[3] = catalog[7]  # its first 21 answers are equal
    found = topk(queries, catalog, 10, query_chunk=chunks[0], catalog_chunk=chunks[1])
    assert found.rows.tolist() == oracle(queries, catalog, 10, set())
    assert found.rows[3].tolist() == [7, *range(40, 49)]
    assert torch.equal(found.scores, topk(queries, catalog, 10).scores)


def test_more_ties_than_the_fast_pass_keeps_still_come_in_row_order() -> None:
    catalog = torch.ones(300, 8) / 8**0.5
    catalog[250] = -catalog[250]
    found = topk(catalog[:4], catalog, 5, catalog_chunk=64)
    assert found.rows.tolist() == [[0, 1, 2, 3, 4]] * 4


def test_excluded_rows_are_not_found(vectors: tuple[Tensor, Tensor]) -> None:
    queries, catalog = vectors
    barred = [(0, 5), (0, 6), (4, 0), (30, 202)] + [(9, i) for i in range(100)]
    exclude = Excluded(*(torch.tensor(part) for part in zip(*sorted(barred), strict=True)))
    found = topk(queries, catalog, 10, exclude=exclude, query_chunk=4, catalog_chunk=50)
    assert found.rows.tolist() == oracle(queries, catalog, 10, set(barred))


def test_all_negative_scores_are_ranked_like_any_other() -> None:
    catalog = -torch.eye(4)[[2, 0, 1]] - 0.1
    query = torch.tensor([[1.0, 0.5, 0.2, 0.0]])
    found = topk(query, catalog, 3)
    assert (found.scores < 0).all()
    assert found.rows.tolist() == oracle(query, catalog, 3, set())


def test_a_catalog_shorter_than_k_is_padded() -> None:
    exclude = Excluded(torch.tensor([0]), torch.tensor([1]))
    found = topk(torch.eye(3), torch.eye(3), 5, exclude=exclude)
    assert found.rows[0].tolist() == [0, 2, -1, -1, -1]
    assert found.scores[0, 2:].isneginf().all()
    assert found.rows[1].tolist() == [1, 0, 2, -1, -1]


def test_fused_score_is_the_weighted_sum_of_both_parts(vectors: tuple[Tensor, Tensor]) -> None:
    image, text = vectors[1], vectors[1].flip(0).contiguous()
    found = topk(Fused(image[:6], text[:6], 0.7), Fused(image, text, 0.7), 8)
    expected = 0.7 * image[:6] @ image.T + 0.3 * text[:6] @ text.T
    assert torch.allclose(found.scores.float(), expected.topk(8).values, atol=1e-6)


def test_rank_rows_orders_what_it_is_given(vectors: tuple[Tensor, Tensor]) -> None:
    queries, catalog = vectors
    rows = torch.tensor([[9, 3, -1, 45, 41, 40]]).expand(len(queries), -1)
    found = rank_rows(queries, catalog, rows)
    allowed = {9, 3, 45, 41, 40}
    barred = {(q, i) for q in range(len(queries)) for i in range(203) if i not in allowed}
    assert found.rows[:, :5].tolist() == oracle(queries, catalog, 5, barred)
    assert found.rows[:, 5].eq(-1).all()
