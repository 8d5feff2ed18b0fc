"""Intervals where queries search one another: design effects from split halves."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.evaluation import intervals
from fashret.evaluation.comparison import compare
from fashret.evaluation.embed import evaluate_split
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.intervals import (
    is_self_search,
    largest_k,
    list_depth,
    product_units,
    variance_factors,
)
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.ranking import SplitEmbeddings
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.blocks import Layout
from fashret.functional.relevance import CodeRelevance
from fashret.functional.retrieval import METRICS, per_query
from fashret.functional.split_half import (
    DesignEffect,
    all_metrics,
    depth_for_halves,
    random_halves,
    small_sample_factor,
)
from fashret.tasks.base import Search, Task

KEY = "test/image/category/precision@10"


def options(**changes: Any) -> RetrievalOptions:
    given: dict[str, Any] = {
        "k": [1, 10], "exclude": "self", "weight_image": 0.7, "candidates": None,
        "catalog_splits": None, "slice_metrics": ["precision"], "max_queries": None,
        "max_items": None, "seed": 0, "resamples": 500,
    }  # fmt: skip
    return RetrievalOptions(**given | changes)


def drawn(products: int, seed: int, **changes: Any) -> tuple[SplitSearch, SplitEmbeddings]:
    """Products of five categories with two photos each, whose embeddings cluster by category."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, 16, generator=torch.Generator().manual_seed(99))
    category = torch.randint(0, 5, (products,), generator=generator)
    own = 0.6 * centres[category] + torch.randn(products, 16, generator=generator)
    unit = torch.arange(products).repeat_interleave(2)
    image = normalize(own[unit] + 0.7 * torch.randn(2 * products, 16, generator=generator), dim=1)
    codes: Any = SimpleNamespace(
        product=unit,
        caption=torch.arange(2 * products),
        labels={"category": (category[unit], list("abcde"))},
    )
    rows = np.arange(2 * products)
    plan = SplitSearch("test", options(**changes), rows, rows, codes, ("category",))
    return plan, SplitEmbeddings(image, image, Layout.from_widths({"general": 16}))


@pytest.mark.parametrize("seed", range(3))
def test_metrics_in_one_pass_are_the_metrics(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hits = torch.rand(40, 12, generator=generator) < 0.3
    relevant = torch.maximum(hits.sum(dim=1), torch.randint(0, 15, (40,), generator=generator))
    relevant[:5] = 0
    hits[:5] = False
    ks = [1, 3, 12]
    made = all_metrics(hits, relevant, torch.tensor(ks))
    expected = per_query(hits, relevant, ks)
    names = [f"{metric}@{k}" for metric in METRICS for k in ks]
    assert list(expected) == names
    for i, name in enumerate(names):
        torch.testing.assert_close(
            made[:, i].double(), expected[name], equal_nan=True, rtol=1e-5, atol=1e-6
        )


def test_halves_are_equal_and_random() -> None:
    generator = torch.Generator().manual_seed(0)
    sides = torch.stack([random_halves(11, generator) for _ in range(400)])
    assert set(sides.sum(dim=1).tolist()) == {5}
    assert (sides.double().mean(dim=0) - 5 / 11).abs().max() < 0.1


def test_a_list_is_deep_enough_for_its_half() -> None:
    """The tenth row within the own half lies in the list in all but a few of 1,000 draws."""
    generator = torch.Generator().manual_seed(0)
    for views in (1, 4):
        depth = depth_for_halves(10, views)
        halves = torch.randint(0, 2, (1000, depth), generator=generator)
        units = torch.arange(depth) // views  # the worst case: all views of a product in a row
        own = halves[:, units].sum(dim=1)
        assert (own >= 10).double().mean() > 0.99
        assert depth < 80


def test_within_and_between_are_those_of_plain_arithmetic() -> None:
    """Four queries of three products; the halves are {0, 1} and {2}."""
    effect = DesignEffect(cells=1, columns=1)
    values = torch.tensor([[1.0], [0.0], [0.5], [torch.nan]], dtype=torch.float64)
    more = torch.tensor([[0.2], [0.8], [0.4], [0.6]], dtype=torch.float64)
    group, cell = torch.tensor([0, 1, 2, 3]), torch.zeros(4, dtype=torch.long)
    side = torch.tensor([[0, 0, 1, 1]])
    effect.add(more[None], group, cell, side)
    # means 0.5 and 0.5; variances 2 x (0.3^2 + 0.3^2) / 2^2 = 0.09 and 2 x 2 x 0.1^2 / 4 = 0.01
    assert float(effect.between[0, 0]) == pytest.approx(0.0)
    assert float(effect.within[0, 0]) == pytest.approx((0.09 + 0.01) / 2)
    effect.add(values[None], group, cell, side)  # one counted group on the second side: no variance
    assert float(effect.within[0, 0]) == pytest.approx((0.09 + 0.01) / 2)
    effect.add(torch.tensor([[[0.8], [1.0], [0.1], [0.3]]]), group, cell, side)
    assert float(effect.between[0, 0]) == pytest.approx((0.9 - 0.2) ** 2 / 2)
    assert float(effect.factor()[0, 0]) == pytest.approx(0.245 / (0.05 + 0.01))


def test_a_factor_is_at_least_one() -> None:
    effect = DesignEffect(cells=1, columns=2)
    effect.between[:] = torch.tensor([0.5, 0.0])
    effect.within[:] = torch.tensor([1.0, 0.0])
    assert effect.factor().tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("products", "t"),
    [(15, 2.571), (30, 2.228), (60, 2.086), (90, 2.042), (300, 1.984)],  # of 5, 10, 20, 30, 100
)
def test_few_products_widen_an_interval_as_students_t_does(products: int, t: float) -> None:
    expected = (t / 1.960) ** 2 * products / (products - 1)
    assert small_sample_factor(products) == pytest.approx(expected, rel=0.02)


def spread(made: list[Evaluation], key: str) -> float:
    return float(torch.tensor([one.means()[key] for one in made], dtype=torch.float64).std())


@pytest.mark.run
def test_the_widened_interval_has_the_spread_of_new_products() -> None:
    """Over 120 fresh sets of 100 products: the true spread, and what each set estimates of it.

    The estimate from queries alone is below three quarters of it, which no luck of 120 draws
    explains: the relative error of their spread is 1 / sqrt(240) = 6 %.
    """
    made = [evaluate_split(*drawn(100, seed)) for seed in range(120)]
    true = spread(made, KEY)
    alone, widened = [], []
    for one in made[:40]:
        values = one.columns[KEY].values.view(100, 2).mean(dim=1)
        alone.append(float(values.var()) / 100)
        widened.append(
            alone[-1]
            * variance_factors(one.plan, [one.lists], [KEY])[KEY]
            / small_sample_factor(100)
        )
    assert np.sqrt(np.mean(alone)) < 0.75 * true
    assert np.sqrt(np.mean(widened)) == pytest.approx(true, rel=0.2)
    for one in made[:3]:
        result = one.results([KEY])[KEY]
        half_width = (result["high"] - result["low"]) / 2
        assert half_width == pytest.approx(1.96 * true, rel=0.35)


def test_a_fixed_gallery_adds_nothing() -> None:
    plan, embedded = drawn(60, 0)
    fixed = SplitSearch(
        "test", plan.options, plan.queries[:40], plan.gallery[40:], plan.codes,
        plan.described,
    )  # fmt: skip
    one, other = plan.searches["image"], fixed.searches["image"]
    assert is_self_search(one)
    assert not is_self_search(other)
    assert list_depth(other, 10) == 10 < list_depth(one, 10)
    assert variance_factors(fixed, [evaluate_split(fixed, embedded).lists], [KEY]) == {KEY: 1.0}


def test_a_system_differs_from_itself_by_nothing() -> None:
    plan, embedded = drawn(40, 1)
    one = evaluate_split(plan, embedded)
    keys = [KEY, f"{KEY}[a]", f"{KEY}[macro]"]
    for change in compare(one, one, keys).values():
        assert (change.low, change.high, change.p) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("exclude", ["self", "copies", "product", "none"])
def test_what_is_relevant_within_a_half_is_counted_as_in_a_search_of_the_half(
    exclude: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The factors of a set, by searching its halves anew."""
    monkeypatch.setattr(intervals, "MOST_SPLITS", 8)
    monkeypatch.setattr(intervals, "FEWEST_SPLITS", 8)
    plan, embedded = drawn(60, 2, exclude="self" if exclude == "copies" else exclude)
    if exclude == "copies":  # every second product shows a photo of the one before it
        rows = np.arange(120)
        plan = replace(plan, photos=np.where(rows % 4 == 2, rows - 2, rows))
    one = evaluate_split(plan, embedded)
    names = [f"{metric}@{k}" for metric in METRICS for k in (1, 10)]
    keys = [f"test/image/category/{name}" for name in names]
    found = variance_factors(one.plan, [one.lists], keys)
    generator = torch.Generator().manual_seed(0)
    between, within = torch.zeros(len(keys)).double(), torch.zeros(len(keys)).double()
    for _ in range(8):
        side = random_halves(60, generator)
        means, variances = [], []
        for half in (0, 1):
            products = (side == half).nonzero()[:, 0].tolist()
            values = searched(plan, embedded.image, products, exclude)
            by_product = values.view(len(products), 2, -1).mean(dim=1)
            means.append(by_product.mean(dim=0))
            variances.append(by_product.var(dim=0) / len(products))
        between += (means[0] - means[1]).square() / 2
        within += (variances[0] + variances[1]) / 2
    assert bool(between.isfinite().all())
    expected = torch.where(within > 0, between / within, 1.0).clamp(min=1.0)
    expected *= small_sample_factor(60)
    assert list(found.values()) == pytest.approx(expected.tolist(), rel=1e-3)


def searched(plan: SplitSearch, image: Tensor, products: list[int], exclude: str) -> Tensor:
    """(2 P, 12) metrics of the photos of some products that search one another."""
    rows = [row for product in products for row in (2 * product, 2 * product + 1)]
    category = plan.codes.labels["category"][0]
    values = []
    for row in rows:
        barred = {
            "self": {row},
            "copies": {row, row if row % 2 else row ^ 2},
            "product": {row, row ^ 1},
            "none": set(),
        }[exclude]
        others = [other for other in rows if other not in barred]
        others.sort(key=lambda other: -float(image[row].double() @ image[other].double()))
        right = torch.tensor([[bool(category[other] == category[row]) for other in others]])
        found = per_query(right, right.sum(dim=1), [1, 10])
        values.append(torch.cat(list(found.values())))
    return torch.stack(values)


def search_of(queries: list[int], gallery: list[int], products: list[int] | None = None) -> Search:
    """A search whose gallery rows have products, each its own by default."""
    groups = list(range(len(gallery))) if products is None else products
    return Search(
        "s", np.array(queries), np.array(gallery), torch.zeros(len(queries)), torch.tensor(groups)
    )


def test_products_are_numbered_and_an_item_without_one_is_one_of_its_own() -> None:
    search = search_of([4, 9, 11], [2, 4, 5, 9, 11, 12], [3, 3, -1, 0, -1, 0])
    of_query, of_item = product_units(search)
    units = of_item.tolist()
    assert units[0] == units[1]
    assert units[3] == units[5]
    assert sorted(set(units)) == list(range(4))
    assert of_query.tolist() == [units[1], units[3], units[4]]
    first = product_units(search_of([0, 1], [0, 1, 2, 3], [-1, 5, -1, 4]))[1].tolist()
    assert len(set(first)) == 4  # whatever the numbers of products are
    nothing = product_units(search_of([0, 1], [0, 1, 2], [-1, -1, -1]))
    assert [part.tolist() for part in nothing] == [[0, 1], [0, 1, 2]]


def test_a_gallery_is_fixed_that_lacks_a_query_or_is_ten_times_as_large() -> None:
    assert is_self_search(search_of([0, 1, 2, 3], list(range(39))))
    assert not is_self_search(search_of([0, 1, 2, 3], list(range(40))))  # ten times as large
    assert not is_self_search(search_of([0, 1, 2, 3, 50], list(range(20))))  # but for one
    assert not is_self_search(search_of([0, 1, 2], list(range(6))))  # three products are too few
    assert is_self_search(search_of([0, 1, 2, 3], list(range(4)), [0, 1, 2, 3]))
    assert not is_self_search(search_of([0, 1, 2, 3], list(range(4)), [0, 1, 2, 2]))
    without = replace(search_of([0, 1, 2, 3], list(range(6))), gallery_groups=None)
    assert not is_self_search(without)


def test_a_list_is_as_deep_as_products_have_photos() -> None:
    rows = list(range(300))
    for photos in (1, 3, 60):
        search = search_of(rows, rows, [row // photos for row in rows])
        expected = min(depth_for_halves(5, min(photos, 50)), 300)
        assert list_depth(search, 5) == expected
    few = search_of(rows[:8], rows[:8])
    assert list_depth(few, 5) == 8  # no deeper than the gallery
    assert list_depth(few, 9) == 9  # but never less than the cut-off
    # 95 % of the products have one photo, however many the others have.
    outlier = [0] * 10 + list(range(1, 291))
    assert list_depth(search_of(rows, rows, outlier), 5) == depth_for_halves(5, 1)


def test_the_largest_cut_off_is_that_of_the_searchs_own_tasks() -> None:
    relevance = CodeRelevance(torch.zeros(1), torch.zeros(1))

    def one(search: str, *metrics: str) -> Task:
        return Task("t", search, relevance, metrics, metrics)

    plan: Any = SimpleNamespace(
        tasks=[one("a", "hit@3", "map"), one("b", "hit@20"), one("a", "ndcg@12", "hit@1")]
    )
    assert largest_k(plan, "a") == 12
    assert largest_k(plan, "b") == 20
    plan.tasks = [one("a", "map")]
    assert largest_k(plan, "a") == 1


def with_unknown(plan: SplitSearch) -> SplitSearch:
    """The plan with products of no known category."""
    category, values = plan.codes.labels["category"]
    category = torch.where(torch.arange(len(category)) // 2 % 9 == 4, -1, category)
    codes: Any = SimpleNamespace(
        product=plan.codes.product,
        caption=plan.codes.caption,
        labels={"category": (category, values)},
    )
    return replace(plan, codes=codes)


@pytest.mark.parametrize("systems", [1, 2])
def test_the_factors_of_values_are_those_of_the_queries_of_each_value(
    systems: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By searching the halves anew: of one system, and of the difference of two."""
    monkeypatch.setattr(intervals, "MOST_SPLITS", 5)
    monkeypatch.setattr(intervals, "FEWEST_SPLITS", 5)
    count, number = 80, 5
    plan, embedded = drawn(count, 3)
    plan = with_unknown(plan)
    category = plan.codes.labels["category"][0][::2]  # of each product
    second = normalize(
        embedded.image
        + 0.5 * torch.randn(2 * count, 16, generator=torch.Generator().manual_seed(8)),
        dim=1,
    )
    images = [embedded.image, second][:systems]
    made = [evaluate_split(plan, replace(embedded, image=image, text=image)) for image in images]
    metrics = [f"precision@{k}" for k in (1, 10)]
    stem = "test/image/category"
    keys = [f"{stem}/{m}{of}" for m in metrics for of in ("", "[a]", "[c]", "[macro]")]
    found = variance_factors(plan, [one.lists for one in made], [*keys, f"{stem}/hit@1[a]"])
    assert list(found) == [*keys, f"{stem}/hit@1[a]"]
    assert found[f"{stem}/hit@1[a]"] == 1.0  # hit is not given by value

    columns = [4, 5]  # precision@1 and @10 among the six metrics at two cut-offs
    names = [f"{metric}@{k}" for metric in METRICS for k in (1, 10)]
    assert [names[column] for column in columns] == metrics
    shape = (number + 2, 2)
    between, within = torch.zeros(shape).double(), torch.zeros(shape).double()
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        side = random_halves(count, generator)
        means, variances = [], []
        for half in (0, 1):
            products = (side == half).nonzero()[:, 0].tolist()
            parts = [searched(plan, image, products, "self")[:, columns] for image in images]
            change = parts[0] if systems == 1 else parts[0] - parts[1]
            by_product = change.view(len(products), 2, -1).mean(dim=1)
            code = category[products]
            groups = [code != -1, *(code == value for value in range(number))]
            assert all(int(group.sum()) > 1 for group in groups)
            own = [by_product[group] for group in groups]
            means.append(torch.stack([part.mean(dim=0) for part in own]))
            variances.append(torch.stack([part.var(dim=0) / len(part) for part in own]))
        between[:-1] += (means[0] - means[1]).square() / 2
        within[:-1] += (variances[0] + variances[1]) / 2
        macro = [part[1:].mean(dim=0) for part in means]
        between[-1] += (macro[0] - macro[1]).square() / 2
        within[-1] += ((variances[0] + variances[1])[1:] / 2).sum(dim=0) / number**2
    expected = torch.where(within > 0, between / within, 1.0).clamp(min=1.0)
    known = int((category != -1).sum())
    numbers = [known, *(int((category == value).sum()) for value in range(number)), known]
    for i, metric in enumerate(metrics):
        for of, row in {"": 0, "[a]": 1, "[c]": 3, "[macro]": number + 1}.items():
            factor = float(expected[row, i]) * small_sample_factor(numbers[row])
            assert found[f"{stem}/{metric}{of}"] == pytest.approx(factor, rel=1e-3), (metric, of)


def test_searches_of_the_same_queries_are_each_judged_by_their_own_rankings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Factors asked together are those asked alone, of photos and of texts."""
    monkeypatch.setattr(intervals, "MOST_SPLITS", 4)
    monkeypatch.setattr(intervals, "FEWEST_SPLITS", 4)
    plan, embedded = drawn(40, 5)
    texts = normalize(
        embedded.image + 0.3 * torch.randn(80, 16, generator=torch.Generator().manual_seed(1)),
        dim=1,
    )
    one = evaluate_split(plan, replace(embedded, text=texts))
    keys = [f"test/{task}/precision@10" for task in ("image/category", "text/category")]
    keys += ["test/text/product/mrr@10", "test/image/product/map@1"]
    together = variance_factors(plan, [one.lists], keys)
    assert list(together) == keys
    for key in keys:
        assert variance_factors(plan, [one.lists], [key])[key] == pytest.approx(together[key])
    assert together[keys[0]] != pytest.approx(together[keys[1]], rel=1e-3)
    # One item is relevant to each query, of 40 products; two products would be the least.
    assert together[keys[2]] < small_sample_factor(2)
    for lists in ([{}], [one.lists, {}]):  # no lists are known, or those of one system alone
        assert variance_factors(plan, lists, keys) == dict.fromkeys(keys, 1.0)
    shallow = {name: rows[:, :9] for name, rows in one.lists.items()}
    with pytest.raises(AssertionError, match="rankings have"):
        variance_factors(plan, [one.lists, shallow], keys)


@pytest.mark.parametrize(("queries", "splits"), [(300, 7), (12_000, 4), (40_000, 3)])
def test_a_large_set_needs_fewer_splits(
    queries: int, splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "MOST_SPLITS", 7)
    monkeypatch.setattr(intervals, "FEWEST_SPLITS", 3)
    monkeypatch.setattr(intervals, "_SPLIT_QUERIES", 48_000)
    made: list[int] = []

    def halves(count: int, generator: torch.Generator) -> Tensor:
        made.append(count)
        return random_halves(count, generator)

    monkeypatch.setattr(intervals, "random_halves", halves)
    rows = np.arange(queries)
    codes = torch.arange(queries) // 2
    search = Search("s", rows, rows, codes, codes)
    only = Task("t", "s", CodeRelevance(codes, codes), ["hit@1"], ["hit@1"])
    plan: Any = SimpleNamespace(
        prefix="test",
        options=SimpleNamespace(slice_metrics=[], seed=0),
        searches={"s": search},
        tasks=[only],
    )
    lists = {"s": torch.arange(20).expand(queries, -1)}
    variance_factors(plan, [lists], ["test/t/hit@1"])
    assert made == [queries // 2] * splits


def test_a_value_of_one_product_is_as_uncertain_as_one_of_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intervals, "MOST_SPLITS", 3)
    monkeypatch.setattr(intervals, "FEWEST_SPLITS", 3)
    plan, embedded = drawn(30, 7)
    category, values = plan.codes.labels["category"]
    category = torch.where(torch.arange(60) < 2, 5, category)
    codes: Any = SimpleNamespace(
        product=plan.codes.product,
        caption=plan.codes.caption,
        labels={"category": (category, [*values, "f"])},
    )
    one = evaluate_split(replace(plan, codes=codes), embedded)
    key = f"{KEY}[f]"
    # One product is never in both halves, so that nothing is known of the gallery's share.
    assert variance_factors(one.plan, [one.lists], [key])[key] == small_sample_factor(2)


def test_a_difference_is_widened_around_what_was_observed() -> None:
    """Its half width is 1.96 standard errors of the products' differences, times the factor's root.

    The second system is worse: noise is added to its embeddings.
    """
    plan, embedded = drawn(80, 3, resamples=4000)
    noise = torch.randn(160, 16, generator=torch.Generator().manual_seed(8))
    worse = normalize(embedded.image + 0.3 * noise, dim=1)
    after, before = (
        evaluate_split(plan, replace(embedded, image=image, text=image))
        for image in (embedded.image, worse)
    )
    keys = [KEY, f"{KEY}[b]", "test/image/product/hit@10"]
    found = compare(after, before, keys)
    factors = variance_factors(plan, [after.lists, before.lists], keys)
    assert list(found) == keys
    code = plan.codes.labels["category"][0]
    for key in keys:
        whole = key.partition("[")[0]
        change = after.columns[whole].values - before.columns[whole].values
        by_product = change.view(80, 2).mean(dim=1)
        if key.endswith("[b]"):
            by_product = by_product[code[::2] == 1]
        error = float(by_product.std()) / len(by_product) ** 0.5 * factors[key] ** 0.5
        low, high = found[key].low, found[key].high
        assert (low + high) / 2 == pytest.approx(float(by_product.mean()), abs=0.2 * error)
        assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_bounds_are_shares_however_far_an_interval_is_widened() -> None:
    plan, embedded = drawn(12, 4)
    results = evaluate_split(plan, embedded).results()
    ends = [(found["low"], found["high"]) for found in results.values() if found["low"] is not None]
    assert len(ends) > 40
    assert all(0.0 <= low <= high <= 1.0 for low, high in ends)
    assert {0.0, 1.0} <= {end for pair in ends for end in pair}  # some lie at the bounds
