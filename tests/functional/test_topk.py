import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

import fashret.functional.topk as topk_module
from fashret.errors import DataError
from fashret.functional.precision import full_precision, inner_products
from fashret.functional.similarity import Fused
from fashret.functional.topk import Excluded, rank_rows, topk
from support.project import ROOT


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
    found = topk(queries, catalog, 10, query_chunk=chunks[0], gallery_chunk=chunks[1])
    assert found.rows.tolist() == oracle(queries, catalog, 10, set())
    assert found.rows[3].tolist() == [7, *range(40, 49)]
    assert torch.equal(found.scores, topk(queries, catalog, 10).scores)


def test_more_ties_than_the_fast_pass_keeps_still_come_in_row_order() -> None:
    catalog = torch.ones(300, 8) / 8**0.5
    catalog[250] = -catalog[250]
    found = topk(catalog[:4], catalog, 5, gallery_chunk=64)
    assert found.rows.tolist() == [[0, 1, 2, 3, 4]] * 4


def test_excluded_rows_are_not_found(vectors: tuple[Tensor, Tensor]) -> None:
    queries, catalog = vectors
    barred = [(0, 5), (0, 6), (4, 0), (30, 202)] + [(9, i) for i in range(100)]
    exclude = Excluded(*(torch.tensor(part) for part in zip(*sorted(barred), strict=True)))
    found = topk(queries, catalog, 10, exclude=exclude, query_chunk=4, gallery_chunk=50)
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


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("chunk", [64, 1000])
def test_a_catalog_row_that_is_not_finite_is_refused_by_its_number(
    vectors: tuple[Tensor, Tensor], bad: float, chunk: int
) -> None:
    queries, catalog = vectors
    for row in (150, 8, 9, 66, 67, 202, 10):
        catalog[row, row % 24] = bad
    message = r"NaN or Inf .*: 7 of 203, gallery row 8, 9, 10, 66, 67, \.\.\.;"
    with pytest.raises(DataError, match=message):
        topk(queries, catalog, 5, gallery_chunk=chunk)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_query_that_is_not_finite_is_refused_by_its_number(
    vectors: tuple[Tensor, Tensor], bad: float
) -> None:
    queries, catalog = vectors
    queries[17, 0] = queries[30, 5] = bad
    with pytest.raises(DataError, match=r"NaN or Inf .*: 2 of 31, query 17, 30;"):
        topk(queries, catalog, 5, query_chunk=4)
    with pytest.raises(DataError, match=r"2 of 31, query 17, 30;"):
        topk(Fused(queries, queries, 0.5), Fused(catalog, catalog, 0.5), 5)


def test_given_rows_that_are_not_finite_are_refused(vectors: tuple[Tensor, Tensor]) -> None:
    queries, catalog = vectors
    catalog[41] = float("nan")
    rows = torch.tensor([[9, 3, -1]]).expand(len(queries), -1)
    assert rank_rows(queries, catalog, rows).rows[:, 2].eq(-1).all()  # row 41 is not among them
    with pytest.raises(DataError, match=r"1 of 203, gallery row 41;"):
        rank_rows(queries, catalog, rows.clamp(min=3) + 32)
    queries[4, 2] = float("-inf")
    with pytest.raises(DataError, match=r"1 of 31, query 4;"):
        rank_rows(queries, catalog, rows)


def test_an_empty_catalog_gives_rankings_of_padding_alone() -> None:
    found = topk(torch.eye(3), torch.empty(0, 3), 2)
    assert found.rows.tolist() == [[-1, -1]] * 3
    assert found.scores.dtype == torch.float64
    assert found.scores.isneginf().all()
    assert found.scores.shape == (3, 2)


class TensorFloat32(TorchDispatchMode):
    """A device that rounds the factors of float32 products to 10 bits wherever it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.rounded = self.products = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        products = (torch.ops.aten.mm.default, torch.ops.mkldnn._linear_pointwise.default)
        if func in products and args[0].dtype == torch.float32:
            self.products += 1
            if torch.get_float32_matmul_precision() != "highest":
                self.rounded += 1
                bits = [part.contiguous().view(torch.int32) for part in args[:2]]
                rounded = [((part + 0x1000) & ~0x1FFF).view(torch.float32) for part in bits]
                args = [*rounded, *args[2:]]
        return func(*args, **(kwargs or {}))


@pytest.fixture
def matmul_precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_a_ranking_is_exact_whatever_precision_products_are_allowed(
    matmul_precision: None, precision: str
) -> None:
    # 3,000 rows so near one another that 10 bits cannot tell them apart: more than the fast pass
    # keeps beyond k, and none of them within the bound on float32's own rounding.
    generator = torch.Generator().manual_seed(5)
    base = normalize(torch.randn(1, 64, generator=generator), dim=1)
    catalog = normalize(base + 2e-3 * torch.randn(3000, 64, generator=generator), dim=1)
    queries = normalize(base + 2e-3 * torch.randn(4, 64, generator=generator), dim=1)
    expected = (queries.double() @ catalog.double().T).topk(10).indices.tolist()
    torch.set_float32_matmul_precision(precision)
    with TensorFloat32() as device:
        queries @ catalog.T
        assert (device.products, device.rounded) == (1, 1)
        inner_products(queries, catalog)
        assert (device.products, device.rounded) == (2, 2)
        found = topk(queries, catalog, 10, gallery_chunk=1000)
    assert device.products == 2 + 3
    assert device.rounded == 2
    assert found.rows.tolist() == expected
    assert torch.get_float32_matmul_precision() == precision


def test_a_ranking_is_exact_under_autocast(vectors: tuple[Tensor, Tensor]) -> None:
    queries, catalog = vectors
    with torch.autocast("cpu", torch.bfloat16):
        assert (queries @ catalog.T).dtype == torch.bfloat16
        found = topk(queries, catalog, 10)
        assert torch.is_autocast_enabled("cpu")
    assert found.rows.tolist() == oracle(queries, catalog, 10, set())


def test_the_precision_of_single_backends_is_restored() -> None:
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if matmul is None:
        pytest.skip("this torch has one precision for all backends")
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"
        with full_precision(torch.device("cpu")):
            assert matmul.fp32_precision == "ieee"
            assert torch.get_float32_matmul_precision() == "highest"
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


@pytest.mark.run
def test_the_environments_tf32_does_not_reach_the_search() -> None:
    code = """
import torch
from fashret.functional.precision import full_precision
print(torch.get_float32_matmul_precision())
with full_precision(torch.device("cpu")):
    print(torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32)
print(torch.get_float32_matmul_precision())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["high", "highest False", "high"]


def not_oneself(num_items: int) -> Excluded:
    """Each query is the catalog row of its own number, which it must not find."""
    return Excluded(torch.arange(num_items), torch.arange(num_items))


@pytest.mark.parametrize("chunks", [(1, 1), (7, 5), (5, 7), (64, 8), (40, 40)])
def test_no_item_finds_itself_wherever_a_chunk_begins(chunks: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(5)
    items = normalize(torch.randn(40, 6, generator=generator), dim=1)
    found = topk(
        items, items, 4, exclude=not_oneself(40), query_chunk=chunks[0], gallery_chunk=chunks[1]
    )
    assert found.rows.tolist() == oracle(items, items, 4, {(i, i) for i in range(40)})


@pytest.mark.parametrize("chunks", [(1, 1), (7, 5), (64, 8), (90, 90)])
def test_equal_items_leave_themselves_out_and_come_in_row_order(chunks: tuple[int, int]) -> None:
    # 90 equal rows are more ties than the fast pass keeps: every score is looked at again.
    items = torch.ones(90, 8) / 8**0.5
    found = topk(
        items, items, 3, exclude=not_oneself(90), query_chunk=chunks[0], gallery_chunk=chunks[1]
    )
    for i, rows in enumerate(found.rows.tolist()):
        assert rows == [row for row in range(4) if row != i][:3]
    assert found.scores == pytest.approx(torch.ones(90, 3, dtype=torch.float64), abs=1e-6)


def test_a_query_that_may_find_little_among_equal_rows_finds_no_more() -> None:
    # Query 1 may find rows 3 and 77 alone of 90 equal ones, query 0 and 2 any.
    items = torch.ones(90, 4) / 2
    barred = [row for row in range(90) if row not in (3, 77)]
    exclude = Excluded(torch.ones(len(barred), dtype=torch.long), torch.tensor(barred))
    found = topk(items[:3], items, 4, exclude=exclude, gallery_chunk=16)
    assert found.rows.tolist() == [[0, 1, 2, 3], [3, 77, -1, -1], [0, 1, 2, 3]]
    assert found.scores[1].tolist() == [1.0, 1.0, -torch.inf, -torch.inf]


@pytest.mark.parametrize("num_near", [8, 30, 200])
@pytest.mark.parametrize("length", [1.0, 50.0])
def test_rows_that_float32_cannot_tell_apart_come_in_their_exact_order(
    num_near: int, length: float
) -> None:
    # The near rows differ by a few float32 steps of one coordinate: products in float32 round the
    # differences away, or turn them round; products in float64 do not.
    generator = torch.Generator().manual_seed(num_near)
    query = length * normalize(torch.randn(1, 48, generator=generator), dim=1)
    catalog = normalize(torch.randn(300, 48, generator=generator), dim=1)
    near = torch.randperm(300, generator=generator)[:num_near]
    catalog[near] = query / length
    steps = torch.randint(-3, 4, (num_near, 48), generator=generator)
    catalog[near] += steps * 2.0**-26
    expected = oracle(query, catalog, 6, set())
    assert topk(query, catalog, 6).rows.tolist() == expected
    assert topk(query, catalog, 6, gallery_chunk=37).rows.tolist() == expected


def test_scores_are_exact_products() -> None:
    queries = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    catalog = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.5]])
    found = topk(queries, catalog, 2)
    assert found.rows.tolist() == [[2, 1], [0, 2]]
    assert found.scores.tolist() == [[8.0, 4.0], [0.0, -1.0]]
    assert found.scores.dtype == torch.float64


def test_scores_beyond_those_asked_for_are_rounded_and_their_order_is_exact(
    vectors: tuple[Tensor, Tensor],
) -> None:
    queries, catalog = vectors
    whole = topk(queries, catalog, 30)
    for scored in (0, 7, 30, 99):
        found = topk(queries, catalog, 30, scored=scored)
        assert torch.equal(found.rows, whole.rows)
        assert torch.equal(found.scores[:, :scored], whole.scores[:, :scored])
        assert torch.allclose(found.scores, whole.scores, rtol=0.0, atol=1e-6)
    assert not torch.equal(topk(queries, catalog, 30, scored=0).scores, whole.scores)


@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float32, 1e-4), (torch.float64, 1e-14), (torch.float16, 0.05)]
)
def test_inner_products_are_those_of_float64(dtype: torch.dtype, atol: float) -> None:
    generator = torch.Generator().manual_seed(9)
    for queries, rows, dim in ((1, 1, 3), (5, 40, 16), (33, 7, 130), (0, 4, 8), (4, 0, 8)):
        first = torch.randn(queries, dim, generator=generator).to(dtype)
        second = torch.randn(dim, rows, generator=generator).to(dtype).T  # not contiguous
        found = inner_products(first, second)
        assert found.dtype == dtype
        expected = first.double() @ second.double().T
        assert torch.allclose(found.double(), expected, rtol=0.0, atol=atol)
    learned = torch.ones(2, 3, requires_grad=True)
    assert not inner_products(learned, torch.ones(4, 3)).requires_grad


def test_no_queries_find_nothing() -> None:
    found = topk(torch.empty(0, 3), torch.eye(3), 2)
    assert found.rows.shape == found.scores.shape == (0, 2)


@pytest.mark.parametrize("num_rows", [1, 5, 6, 37, 38, 39, 60])
def test_a_catalog_of_any_length_is_searched_to_its_end(num_rows: int) -> None:
    # k is 6, and the fast pass keeps 38: lengths about both, in blocks and whole.
    generator = torch.Generator().manual_seed(num_rows)
    queries = torch.randn(5, 3, generator=generator)
    catalog = torch.randn(num_rows, 3, generator=generator)
    expected = [rows + [-1] * (6 - len(rows)) for rows in oracle(queries, catalog, 6, set())]
    for chunk in (1, 4, 1000):
        assert topk(queries, catalog, 6, gallery_chunk=chunk).rows.tolist() == expected


def test_given_rows_are_scored_a_few_queries_at_a_time() -> None:
    # 2 ** 18 products at a time are three of these eight queries, and then less than one.
    generator = torch.Generator().manual_seed(4)
    for dim in (145, 700):
        queries = torch.randn(8, dim, generator=generator)
        catalog = torch.randn(600, dim, generator=generator)
        rows = torch.stack([torch.randperm(600, generator=generator) for _ in range(8)])
        rows[:, 5] = -1
        found = rank_rows(queries, catalog, rows)
        assert found.rows[:, -1].tolist() == [-1] * 8
        for q in range(8):
            kept = set(range(600)) - set(found.rows[q].tolist())
            assert len(kept) == 1  # the one in whose place -1 stood
            assert (
                found.rows[q, :4].tolist()
                == oracle(queries[q : q + 1], catalog, 4, {(0, row) for row in kept})[0]
            )


def test_exclusions_of_a_chunk_count_from_its_start() -> None:
    exclude = Excluded(torch.tensor([0, 2, 2, 3, 5]), torch.tensor([9, 8, 7, 6, 5]))
    part = exclude.for_queries(2, 5)
    assert part.queries.tolist() == [0, 0, 1]
    assert part.rows.tolist() == [8, 7, 6]


def test_a_fusion_has_a_row_for_each_item_and_reads_any_of_them() -> None:
    image, text = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[4.0], [0.0], [5.0]])
    fused = Fused(image, text, 0.36)  # the roots are 0.6 and 0.8
    assert len(fused) == 3
    assert torch.allclose(fused[0:2], torch.tensor([[0.6, 3.2], [1.2, 0.0]]))
    assert torch.allclose(fused[torch.tensor([2])], torch.tensor([[1.8, 4.0]]))


def test_the_whole_catalog_is_looked_at_again_where_rounding_may_matter_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is what makes a catalog full of ties exact, and is many times slower."""
    looked_at = []
    exact_pass = topk_module._exact_pass

    def counting(query: Tensor, *rest: Any) -> Any:
        looked_at.append(query)
        return exact_pass(query, *rest)

    monkeypatch.setattr(topk_module, "_exact_pass", counting)
    generator = torch.Generator().manual_seed(8)
    catalog = normalize(torch.randn(400, 16, generator=generator), dim=1)
    topk(catalog[:20], catalog, 5)
    catalog[100:120] = catalog[0]  # fewer ties than the fast pass keeps
    topk(catalog[:20], catalog, 5)
    assert not looked_at
    catalog[100:160] = catalog[0]
    topk(catalog[:20], catalog, 5)
    assert len(looked_at) == 1
    assert torch.equal(looked_at[0], catalog[0])
