"""Rankings of a split: by every mode, in shares, among candidates, and without copies."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.blocks import Layout


def at(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1).float()


@pytest.mark.parametrize("exclude", ["self", "product", "none"])
def test_a_copy_of_the_query_is_no_hit(exclude: str) -> None:
    # Rows 0 and 1 are copies, of product a; row 2 is another photo of a; rows 3 and 4 are copies,
    # of product b, once per size. Row 5, of product c, shows the photo of a as well.
    options = RetrievalOptions(
        k=[1], exclude=exclude, weight_image=0.7, candidates=None, catalog_splits=None,
        slice_metrics=[], max_queries=None, max_items=None, seed=0, resamples=10,
    )  # fmt: skip
    known: Any = SimpleNamespace(
        product=torch.tensor([0, 0, 0, 1, 1, 2]),
        caption=torch.arange(6),
        labels={"category": (torch.zeros(6, dtype=torch.long), ["shirts"])},
    )
    rows, photos = np.arange(6), np.array([0, 0, 2, 3, 3, 0])
    plan = SplitSearch("test", options, rows, rows, known, ("category",), photos)
    image = at(0, 0, 30, 90, 90, 0)
    embedded = SplitEmbeddings(image, image, Layout.from_widths({"general": 2}))
    found = Evaluation.from_rankings(
        plan, {m: r for m, (_, r) in rank_split(plan, embedded).items()}
    )
    recall = found.columns["test/image/product/recall@1"]
    nan = float("nan")
    expected = {
        # 0 and 1 find row 2 of their one relevant item; 2 finds one of its two; nothing but its own
        # copy is relevant to 3 and to 4, and nothing to 5: they do not count
        "self": [1.0, 1.0, 0.5, nan, nan, nan],
        "product": [nan] * 6,
        # 0, 1 and 5 find row 0, of three relevant ones for 0 and 1, and the one of product c, row
        # 5, is not the first of equals; 2 finds itself; 3 and 4 find 3
        "none": [1 / 3, 1 / 3, 1 / 3, 0.5, 0.5, 0.0],
    }[exclude]
    torch.testing.assert_close(
        recall.values, torch.tensor(expected, dtype=torch.float64), equal_nan=True
    )
    if exclude == "self":
        # the best that can be reached with one item: 1 of 1, 1 of 1, 1 of 2
        assert recall.ceiling[:3].tolist() == [1.0, 1.0, 0.5]
        assert found.unanswerable()["image/product"] == 3
    excluded = plan.searches["image"].excluded
    pairs = set() if excluded is None else set(zip(*(t.tolist() for t in excluded), strict=True))
    of_a = {(i, j) for i in (0, 1, 5) for j in (0, 1, 5)}
    own = {(i, i) for i in range(6)} | of_a | {(3, 4), (4, 3)}
    more = {(i, j) for i in range(3) for j in range(3)}
    assert pairs == {"self": own, "product": own | more, "none": set()}[exclude]


def test_official_roles_exclude_no_more_than_before() -> None:
    table: Any = SimpleNamespace(
        splits=("test",),
        rows=lambda split: np.arange(4),
        photo_codes=np.zeros(4, dtype=np.int64),
        dataset=SimpleNamespace(column_names=["role"]),
        column=lambda name: ["query", "gallery", "query", "gallery"],
        categorical_columns=("category",),
    )
    given: Any = SimpleNamespace(
        catalog_splits=None, max_items=None, max_queries=None, seed=0, exclude="self", by="item"
    )
    known: Any = SimpleNamespace(product=torch.arange(4))
    found = SplitSearch.from_table(table, known, "test", given)
    assert found.photos is None
    excluded = found.searches["image"].excluded
    assert excluded is not None
    assert len(excluded.queries) == 0


def photos_of(seed: int, count: int, width: int) -> Tensor:
    return normalize(
        torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1
    )


def apart(**options: Any) -> SplitSearch:
    """Queries and a gallery that share some of twenty rows; the others are in neither."""
    codes: Any = SimpleNamespace(product=torch.arange(20) // 2, caption=torch.arange(20), labels={})
    given: dict[str, Any] = {"k": [2, 4], "resamples": 10}
    queries, gallery = np.array([1, 4, 5, 9, 13, 17, 18]), np.array([0, 3, 4, 6, 9, 11, 12, 15, 18])
    return SplitSearch("test", RetrievalOptions(**given | options), queries, gallery, codes, ())


WIDTHS = {"general": 4, "colour": 3}
LAYOUT = Layout.from_widths(WIDTHS)


def embedded_for(plan: SplitSearch) -> SplitEmbeddings:
    rows = len(plan.rows)
    return SplitEmbeddings(photos_of(1, rows, 7), photos_of(2, rows, 7), LAYOUT)


def expected_order(plan: SplitSearch, scores: Tensor, query: int, mode: str) -> list[int]:
    """The gallery positions of a query by descending score, without the query itself."""
    own = plan.queries[query] if mode != "text" else -1
    found = [p for p, row in enumerate(plan.gallery) if row != own]
    return sorted(found, key=lambda p: -float(scores[query, p]))


def scores_by_mode(plan: SplitSearch, embedded: SplitEmbeddings) -> dict[str, Tensor]:
    """Similarities of queries and gallery, from the rows of each."""
    place = {int(row): i for i, row in enumerate(plan.rows)}
    asks = [place[int(row)] for row in plan.queries]
    searched = [place[int(row)] for row in plan.gallery]
    weights = plan.options.weights or {}
    photos = LAYOUT.weighted(embedded.image[asks], weights).double()
    said = LAYOUT.weighted(embedded.text[asks], weights).double()
    image, text = embedded.image[searched].double(), embedded.text[searched].double()
    share = plan.options.weight_image
    return {
        "image": photos @ image.T,
        "text": said @ image.T,
        "fused": share * photos @ image.T + (1.0 - share) * said @ text.T,
    }


@pytest.mark.parametrize("weights", [None, {"colour": 2.0}])
def test_every_mode_ranks_the_gallery_by_its_similarities(weights: dict[str, float] | None) -> None:
    plan = apart(weights=weights, weight_image=0.4)
    embedded = embedded_for(plan)
    found = rank_split(plan, embedded)
    assert list(found) == ["image", "text", "fused"]
    for mode, scores in scores_by_mode(plan, embedded).items():
        queries, ranking = found[mode]
        assert queries.tolist() == list(range(7))
        assert ranking.rows.shape == (7, 4)  # the largest k
        for query in range(7):
            expected = expected_order(plan, scores, query, mode)[:4]
            assert ranking.rows[query].tolist() == expected, (mode, query)
            torch.testing.assert_close(
                ranking.scores[query], scores[query, expected], rtol=1e-5, atol=1e-6
            )


def test_processes_rank_every_nth_query_as_one_process_does() -> None:
    plan = apart()
    embedded = embedded_for(plan)
    whole = rank_split(plan, embedded)
    for parts in (2, 3):
        for part in range(parts):
            shares = rank_split(plan, embedded, part=part, parts=parts)
            for mode, (queries, ranking) in shares.items():
                assert queries.tolist() == list(range(part, 7, parts))
                assert torch.equal(ranking.rows, whole[mode][1].rows[queries]), mode


def test_a_ranking_is_as_deep_as_asked_and_of_the_asked_modes() -> None:
    plan = apart()
    embedded = embedded_for(plan)
    found = rank_split(plan, embedded, modes=["text"], depth=6)
    assert list(found) == ["text"]
    scores = scores_by_mode(plan, embedded)["text"]
    for query in range(7):
        assert (
            found["text"][1].rows[query].tolist() == expected_order(plan, scores, query, "text")[:6]
        )


def test_a_fused_query_orders_its_candidates_by_image() -> None:
    plan = apart(k=[2, 4], candidates=5, weight_image=0.3)
    embedded = embedded_for(plan)
    scores = scores_by_mode(plan, embedded)
    found = rank_split(plan, embedded, depth=3)
    fused, image = found["fused"][1].rows, found["image"][1].rows
    differs = False
    for query in range(7):
        candidates = expected_order(plan, scores["image"], query, "image")[:5]
        ordered = sorted(candidates, key=lambda p: -float(scores["fused"][query, p]))
        assert fused[query].tolist() == ordered[:3]
        assert image[query].tolist() == candidates[:3]  # photo queries have no candidates
        differs |= ordered[:3] != expected_order(plan, scores["fused"], query, "fused")[:3]
    assert differs, "no candidate was missed, so that this shows nothing"


@pytest.mark.parametrize("candidates", [None, 6])
def test_products_are_ranked_by_their_best_photo_among_the_candidates(
    candidates: int | None,
) -> None:
    plan = apart(k=[3], candidates=candidates, by="product", exclude="none")
    embedded = embedded_for(plan)
    scores = scores_by_mode(plan, embedded)
    rows = rank_split(plan, embedded)["fused"][1].rows
    for query in range(7):
        order = sorted(range(9), key=lambda p: -float(scores["image"][query, p]))
        if candidates is not None:
            order = order[:candidates]
        order.sort(key=lambda p: -float(scores["fused"][query, p]))
        best: dict[int, int] = {}
        for position in order:
            best.setdefault(int(plan.gallery[position]) // 2, position)
        assert rows[query].tolist() == list(best.values())[:3]


def test_an_item_without_text_is_completed_for_fused_search_alone() -> None:
    plan = apart(weight_image=0.5)
    embedded = embedded_for(plan)
    embedded.text[:3] = 0.0
    assert not bool((embedded.completed_text[:3] == 0.0).all(dim=1).any())
    assert torch.equal(embedded.completed_text[3:], embedded.text[3:])
    assert bool((embedded.text[:3] == 0.0).all())
    place = {int(row): i for i, row in enumerate(plan.rows)}
    asks = [place[int(row)] for row in plan.queries]
    searched = [place[int(row)] for row in plan.gallery]
    photos, said = (
        LAYOUT.weighted(part[asks], {}).double() for part in (embedded.image, embedded.text)
    )
    scores = photos @ embedded.image[searched].double().T
    scores += said @ embedded.completed_text[searched].double().T
    rows = rank_split(plan, embedded)["fused"][1].rows
    for query in range(7):
        assert rows[query].tolist() == expected_order(plan, scores, query, "fused")[:4]


def test_exclusions_are_those_of_the_own_share_of_the_queries() -> None:
    """With copies of photos, processes leave out what one process leaves out."""
    photos = np.arange(20)
    photos[[4, 6, 17, 18]] = 50  # 4 and 6 are one photo, as are 17 and 18
    plan = replace(apart(), photos=photos)
    embedded = embedded_for(plan)
    copies = {
        query: {4, 6, 17, 18} if query in (4, 17, 18) else {query}
        for query in (1, 4, 5, 9, 13, 17, 18)
    }
    for parts in (1, 2, 4):
        for part in range(parts):
            queries, ranking = rank_split(
                plan, embedded, modes=["image"], part=part, parts=parts, depth=9
            )["image"]
            for query, rows in zip(queries.tolist(), ranking.rows.tolist(), strict=True):
                found = {int(plan.gallery[row]) for row in rows if row >= 0}
                assert found == set(plan.gallery.tolist()) - copies[int(plan.queries[query])]
