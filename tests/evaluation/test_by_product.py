"""`retrieval.by=product`: counts, exclusions and metrics of products, against a loop."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fashret.errors import ConfigError
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.intervals import list_depth
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.blocks import Layout
from support.commands import Run, metrics

K = 3


def split(seed: int, by: str = "product") -> tuple[SplitSearch, Tensor, Tensor]:
    """Sixty photos of twenty products and five of none; the colour of some photos is not known."""
    generator = torch.Generator().manual_seed(seed)
    product = torch.cat([torch.randint(0, 20, (60,), generator=generator), torch.full((5,), -1)])
    colour = torch.randint(-1, 3, (65,), generator=generator)
    category = torch.where(product < 0, 0, product % 3)
    codes: Any = SimpleNamespace(
        product=product,
        caption=torch.full((65,), -1),
        labels={
            "category": (category, ["a", "b", "c"]),
            "colour": (colour, ["red", "green", "blue"]),
        },
    )
    rows = np.arange(65)
    options = RetrievalOptions(k=[1, K], by=by, resamples=50)
    plan = SplitSearch("test", options, rows, rows, codes, ("category", "colour"))
    centres = torch.randn(21, 4, generator=generator)
    image = normalize(centres[product] + torch.randn(65, 4, generator=generator), dim=1)
    return plan, image, product


def evaluated(plan: SplitSearch, image: Tensor) -> Evaluation:
    embedded = SplitEmbeddings(image, torch.zeros_like(image), Layout.from_widths({"general": 4}))
    rankings = rank_split(
        plan, embedded, modes=("image",), depth=list_depth(plan.searches["image"], K)
    )
    return Evaluation.from_rankings(plan, {mode: found for mode, (_, found) in rankings.items()})


@pytest.mark.parametrize("seed", range(3))
def test_products_are_counted_once(seed: int) -> None:
    plan, image, product = split(seed)
    evaluation = evaluated(plan, image)
    scores = (image.double() @ image.double().T).fill_diagonal_(-9.0)
    unit = torch.where(product < 0, 100 + torch.arange(65), product)
    for relevance, code in (
        ("product", product),
        ("category", plan.codes.labels["category"][0]),
        ("colour", plan.codes.labels["colour"][0]),
    ):
        judgment = evaluation.results_by_task[f"image/{relevance}"].judgment
        columns = evaluation.results_by_task[f"image/{relevance}"].columns
        for query in range(65):
            order = scores[query].argsort(descending=True, stable=True)[:-1].tolist()
            best: dict[int, int] = {}
            for row in order:
                best.setdefault(int(unit[row]), row)
            others = [row for row in range(65) if row != query]
            right = {int(unit[r]) for r in others if code[r] == code[query] and code[query] >= 0}
            assert int(judgment.num_relevant[query]) == len(right), (relevance, query)
            assert int(judgment.num_ranked[query]) == len({int(unit[r]) for r in others})
            hits = [u in right for u in best][:K]  # a product is right if one of its photos is
            if not right:
                assert bool(columns[f"hit@{K}"].values[query].isnan())
                continue
            assert judgment.hits[query].tolist() == hits + [False] * (K - len(hits))
            expected = sum(hits) / len(right)
            assert float(columns[f"recall@{K}"].values[query]) == pytest.approx(expected)


def test_a_product_of_which_all_photos_are_excluded_is_no_answer() -> None:
    plan, image, product = split(1)
    whole = RetrievalOptions(k=[1, K], by="product", exclude="product", resamples=50)
    plan = SplitSearch("test", whole, plan.queries, plan.gallery, plan.codes, plan.described)
    evaluation = evaluated(plan, image)
    judgment = evaluation.results_by_task["image/product"].judgment
    assert judgment.num_relevant.tolist() == [0] * 65
    units = len(set(product[product >= 0].tolist())) + 5
    assert judgment.num_ranked.tolist() == [units - 1] * 65


def test_intervals_of_products_know_of_new_products() -> None:
    plan, image, _ = split(2)
    results = evaluated(plan, image).results()
    value = results[f"test/image/category/precision@{K}"]
    assert value["low"] < value["value"] < value["high"]


def test_by_is_item_or_product() -> None:
    with pytest.raises(ConfigError, match=r"retrieval\.by=photo: it must be item or product"):
        RetrievalOptions(by="photo")
    assert "by" not in RetrievalOptions().to_dict()
    assert RetrievalOptions(by="product").to_dict()["by"] == "product"


@pytest.mark.usefixtures("stand_ins")
def test_a_run_and_a_protocol_rank_products(run: Run) -> None:
    items = run("evaluate", "protocol=paired", folder="items")
    products = run("evaluate", "retrieval.by=product", folder="products")
    key = "val/image/product/recall@10"
    held = metrics(products)[key]
    assert held["ceiling"] == 1.0
    assert metrics(products)["val/image/product/precision@10"]["ceiling"] == pytest.approx(0.1)
    paired = run("evaluate", "protocol=paired", "retrieval.by=product", folder="paired")
    shared = [k for k in metrics(items) if "hit@10" in k and "[" not in k]
    assert shared
    for name in shared:
        assert metrics(paired)[name]["value"] >= metrics(items)[name]["value"]


def test_grades_are_not_defined_for_products(run: Run, stand_ins: Path) -> None:
    with pytest.raises(ConfigError, match=r"retrieval\.by=product: the task .* judges items"):
        run("evaluate", "protocol=keyword", "retrieval.by=product")
    with pytest.raises(ConfigError, match="attribute_specific has metrics over the whole ranking"):
        run("evaluate", "protocol=attribute_specific", "retrieval.by=product")
