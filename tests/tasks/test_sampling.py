"""What each task takes from the training items: batches, sides, pairs, and what it refuses."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fashret.data.product_batches import ProductBatches
from fashret.data.sources import Sample
from fashret.errors import ConfigError, DataError
from fashret.functional.documents import documents
from fashret.functional.judged import JudgedPairs
from fashret.loading.product_sampler import ProductSampler
from fashret.loading.query_sampler import QuerySampler
from fashret.loading.samplers import ShuffledSampler, TrainingSampler
from fashret.tasks import (
    AttributeTask,
    CaptionTask,
    ComposedTask,
    ProductTask,
    SearchLogTask,
    StreetTask,
)
from fashret.types import GALLERY, QUERY, UNKNOWN, Batch, JudgedQueries, TrainingItems
from support.batches import batch, embeddings

LABELS = {
    "category": (torch.tensor([0, 0, 1, 1, 0, 1]), ["tees", "coats"]),
    "colour": (torch.tensor([0, 0, 0, 0, -1, 1]), ["red", "blue"]),
}


def items(product: list[int], rows: list[int] | None = None, **more: Any) -> TrainingItems:
    count = len(product)
    return TrainingItems(
        torch.arange(count) if rows is None else torch.tensor(rows),
        torch.tensor(product),
        torch.arange(count),
        LABELS,
        [str(i) for i in range(count)],
        **more,
    )


def judged(*, composed: bool = False) -> JudgedQueries:
    """Three queries; one judgment is of grade 0."""
    return JudgedQueries(
        ["a", "b", "c"], ["train"] * 3, torch.tensor([0, 0, 1, 2]), torch.tensor([1, 2, 3, 4]),
        torch.tensor([1.0, 0.0, 0.5, 1.0]).double(), torch.ones(3).double(), torch.arange(3),
        torch.tensor([5, 0, 1]) if composed else None,
    )  # fmt: skip


def epochs(sampler: TrainingSampler) -> Iterator[list[list[int]]]:
    """The rows of the batches of two epochs."""
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        yield [part.rows.tolist() for part in sampler]


@pytest.mark.parametrize(
    "task", [CaptionTask(), AttributeTask(), ProductTask(), SearchLogTask()], ids=lambda t: t.name
)
def test_epochs_differ_unless_the_first_is_to_be_repeated(task: Any) -> None:
    queries = JudgedQueries(
        [str(i) for i in range(30)], ["train"] * 30, torch.arange(30), torch.arange(30),
        torch.ones(30).double(), torch.ones(30).double(), torch.arange(30),
    )  # fmt: skip
    known = TrainingItems(
        torch.arange(30), torch.arange(30) // 2, torch.arange(30), {}, [],
        queries={"search_log": queries},
    )  # fmt: skip
    source = Sample(batch_size=6)
    plain, again, repeated = (
        list(epochs(task.sampler(known, source, seed=3, **options)))
        for options in ({}, {"reshuffle": True}, {"reshuffle": False})
    )
    assert plain[0] != plain[1]
    assert plain == again
    assert repeated[0] == repeated[1]
    assert {row for drawn in plain[0] for row in drawn} == set(range(30))


@pytest.mark.parametrize("task", [CaptionTask(), AttributeTask()], ids=lambda t: t.name)
def test_items_are_drawn_one_by_one(task: Any) -> None:
    sampler = task.sampler(items([0] * 6, rows=[0, 2, 3, 5]), Sample(batch_size=2), seed=0)
    assert isinstance(sampler, ShuffledSampler)
    assert sorted(row for drawn in next(epochs(sampler)) for row in drawn) == [0, 2, 3, 5]
    other = task.sampler(items([0] * 6), Sample(batch_size=3), seed=0, rank=1, world_size=2)
    assert (other.batch_size, other.rank, other.world_size) == (3, 1, 2)


def test_products_are_drawn_with_their_photos_and_photos_of_single_ones_beside_them() -> None:
    # Of the training rows, 7 and 9 have three photos, 4 has two, 0 and 8 have one; 3 and 12 have no
    # product, and row 0 is not trained on, so that product 6 has one photo.
    product = [6, 6, 7, -1, 7, 7, 9, 9, 9, 4, 0, 8, -1, 4]
    source = Sample(batch_size=8, batch=ProductBatches(photos=4, single_photos=0.25))
    sampler = ProductTask().sampler(items(product, rows=list(range(1, 14))), source, seed=0)
    assert isinstance(sampler, ProductSampler)
    assert sampler.products.tolist() == [4, 7, 9]
    assert sampler.photos == 3  # no product has a fourth
    assert sampler.singles.tolist() == [1, 10, 11]  # of the products 6, 0 and 8
    assert (sampler.num_products, sampler.num_singles) == (2, 2)  # a quarter of 8, and 6 / 3
    for drawn in epochs(sampler):
        for rows in drawn:
            counts = np.bincount([product[row] for row in rows[:6]])
            assert sorted(counts[counts > 0].tolist()) == [3, 3]
            assert set(rows[6:]) <= {1, 10, 11}
            assert len(rows) == 8
    every = ProductBatches(photos=2, every="photo")
    by_photo = ProductTask().sampler(items(product), Sample(batch_size=4, batch=every), seed=0)
    plain = ProductTask().sampler(
        items(product), Sample(batch_size=4, batch=ProductBatches(photos=2)), seed=0
    )
    # Two slots of two photos for each of three photos: 1 + 1 + 2 + 2 against 4 products, 2 a step.
    assert (len(by_photo), len(plain)) == (3, 2)


def test_the_street_takes_photos_by_their_role() -> None:
    product = [0, 0, 1, 1, 2, 2]
    role = torch.tensor([QUERY, GALLERY, QUERY, UNKNOWN, GALLERY, GALLERY])
    known = items(product, rows=[0, 1, 2, 3, 5], role=role)
    asks, searched = StreetTask().photo_sides(known)
    assert (asks.tolist(), searched.tolist()) == ([0, 2, 3], [1, 3, 5])
    assert [side.tolist() for side in StreetTask().photo_sides(items(product))] == [list(range(6))]
    assert [side.tolist() for side in ProductTask().photo_sides(known)] == [[0, 1, 2, 3, 5]]


def test_tasks_say_which_texts_they_need() -> None:
    told = {
        task: (task.reads_text, task.trains_text)
        for task in (
            CaptionTask(), ProductTask(), StreetTask(), AttributeTask(), ComposedTask(),
            SearchLogTask(), SearchLogTask(documents="text"), SearchLogTask(documents="mixed"),
        )
    }  # fmt: skip
    assert list(told.values()) == [
        (True, True), (False, False), (False, False), (False, False), (False, True),
        (False, True), (True, True), (True, True),
    ]  # fmt: skip
    assert [task.by_product for task in (ProductTask, StreetTask, CaptionTask, AttributeTask)] == [
        True, True, False, False,
    ]  # fmt: skip


def test_each_task_compares_its_own_two_sides() -> None:
    images, texts = embeddings()
    queries = embeddings(seed=5, rows=4)[0]

    def sides(task: Any) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = task.sides(images, texts, queries)
        return found

    for task, rows, columns in (
        (CaptionTask(), images, texts),
        (ProductTask(), images, images),
        (StreetTask(), images, images),
        (AttributeTask(), images, images),
        (ComposedTask(), queries, images),
        (SearchLogTask(), queries, images),
        (SearchLogTask(documents="text"), queries, texts),
    ):
        found = sides(task)
        assert torch.equal(found[0], rows), task
        assert torch.allclose(found[1], columns, atol=1e-6), task
    mixed = sides(SearchLogTask(documents="mixed", weight_image=0.2))
    assert torch.equal(mixed[0], queries)
    assert torch.equal(mixed[1], documents("mixed", images, texts, 0.2))
    assert not torch.equal(mixed[1], sides(SearchLogTask(documents="mixed"))[1])


def test_judged_queries_are_drawn_with_their_relevant_items() -> None:
    log = QuerySampler(judged(), batch_size=4, seed=0)
    pairs = {(0, 1), (1, 3), (2, 4)}  # the judgment of grade 0 is no pair
    for sampler, reference in (
        (SearchLogTask().sampler(items([0] * 6, queries={"search_log": judged()}),
                                 Sample(batch_size=4), seed=0), False),
        (ComposedTask().sampler(items([0] * 6, queries={"composed": judged(composed=True)}),
                                Sample(batch_size=4), seed=0), True),
    ):  # fmt: skip
        assert isinstance(sampler, QuerySampler)
        assert sampler.batch_size == (2 if reference else log.batch_size)
        for drawn in sampler:
            assert drawn.queries is not None
            asked = drawn.queries.tolist()
            rows = drawn.rows.tolist()
            assert set(zip(asked, rows[: len(asked)], strict=True)) <= pairs
            assert rows[len(asked) :] == ([[5, 0, 1][q] for q in asked] if reference else [])


def test_a_search_log_ignores_answers_of_related_queries_unless_it_shall_not() -> None:
    # The queries 0 and 1 have item 2 in common, 2 is alone.
    queries = JudgedQueries(
        ["a", "b", "c"], ["train"] * 3, torch.tensor([0, 0, 1, 1, 2]),
        torch.tensor([1, 2, 2, 3, 4]), torch.tensor([1.0, 0.5, 1.0, 1.0, 1.0]).double(),
        torch.ones(3).double(), torch.arange(3),
    )  # fmt: skip
    pairs = JudgedPairs(queries)
    rows = Batch(query=torch.tensor([0, 1, 2]))
    columns = Batch(index=torch.tensor([1, 3, 4]), asked=torch.tensor([0, 1, 2]))
    for ignores, negative in ((True, [(0, 2), (1, 2), (2, 0), (2, 1)]), (False, None)):
        task = SearchLogTask(ignore_related=ignores)
        found = task.relations(rows, columns, several_positives=False, judged=pairs)["search_log"]
        own = [(i, i) for i in range(3)]
        assert [tuple(pair) for pair in found.positive.nonzero().tolist()] == own
        every = [(i, j) for i in range(3) for j in range(3) if i != j]
        assert [tuple(p) for p in found.negative.nonzero().tolist()] == (negative or every)
    assert SearchLogTask().asked(Batch()) is None
    assert ComposedTask().asked(columns) is None
    with pytest.raises(AssertionError):
        SearchLogTask().relations(rows, columns, several_positives=False)


@pytest.mark.parametrize(
    "options",
    [{"documents": "photo"}, {"weight_image": -0.1}, {"weight_image": 1.1}, {"weight": 0.0}],
)
def test_options_of_a_search_log_out_of_their_ranges_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"task\.search_log: "):
        SearchLogTask(**options)


def test_options_at_their_bounds_are_taken() -> None:
    assert SearchLogTask(weight_image=0.0).weight_image == 0.0
    assert SearchLogTask(weight_image=1.0, documents="mixed").weight_image == 1.0
    assert CaptionTask(weight=1e-6).weight == 1e-6
    plain = CaptionTask()
    assert (plain.weight, plain.memory) == (1.0, 0)
    log = SearchLogTask()
    assert (log.documents, log.weight_image, log.ignore_related) == ("image", 0.7, True)


def test_captions_relate_several_positives_where_the_loss_takes_them() -> None:
    made = batch()
    one, several = (
        CaptionTask().relations(made, made, several_positives=given)["caption"].positive
        for given in (False, True)
    )
    assert one.nonzero().tolist() == [[i, i] for i in range(5)]  # 5 has no caption
    assert several.nonzero().tolist() == sorted(
        [*([i, i] for i in range(5)), [0, 1], [1, 0]]  # 0 and 1 are one product
    )


def test_each_attribute_is_prepared_by_name_and_is_no_part_of_what_a_task_is() -> None:
    task = AttributeTask(attributes=["colour"])
    known = items([0, 0, 1, 1, 2, 2])
    task.sampler(known, Sample(batch_size=2), seed=0)
    assert task == AttributeTask(attributes=["colour"])  # the labels do not tell tasks apart
    assert repr(task) == "AttributeTask(weight=1.0, memory=0, attributes=['colour'])"
    with pytest.raises(TypeError):
        AttributeTask(_labels={})  # type: ignore[call-arg]
    other = Batch(index=torch.tensor([0, 5, 2]))
    mine = Batch(index=torch.tensor([5, 1]))
    (found,) = task.relations(mine, other, several_positives=False).values()
    # 5 is blue, 0, 1 and 2 are red; 5 is nothing to itself.
    assert found.positive.tolist() == [[False, False, False], [True, False, True]]
    assert found.negative.tolist() == [[True, False, True], [False, True, False]]


def test_each_task_refuses_items_that_it_cannot_learn_from() -> None:
    single = items([0, 1, 2, 3, 4, 5])
    checked: dict[str, Any] = {"data": "shop", "batch_items": 8, "values": False}
    AttributeTask().check(single, single.caption, **checked)
    one_value = {
        "category": (torch.zeros(6, dtype=torch.long), ["tees"]),
        "colour": LABELS["colour"],
    }
    few = TrainingItems(torch.arange(5), single.product, single.caption, one_value, [])
    with pytest.raises(DataError, match=r"data shop .* none of category, colour has two known"):
        AttributeTask().check(few, few.caption, **checked)  # the blue one is not trained on
    with pytest.raises(DataError, match="none of colour has two known values among its 5"):
        AttributeTask(attributes=["colour"]).check(few, few.caption, **checked)
    with pytest.raises(ConfigError, match=r"data\.batch_size=1: a batch of one item"):
        AttributeTask().check(single, single.caption, **checked | {"batch_items": 1})
    CaptionTask().check(single, single.caption, **checked)
    one_text = torch.zeros(6, dtype=torch.long)
    with pytest.raises(DataError, match=r"data shop .* items have one and the same text"):
        CaptionTask().check(single, one_text, **checked)
    CaptionTask().check(single, one_text, **checked | {"values": True})
    with pytest.raises(ConfigError, match=r"data\.batch_size=1: a batch of one item"):
        CaptionTask().check(single, single.caption, **checked | {"batch_items": 1})
    for task in (SearchLogTask(), ComposedTask()):
        fine = items([0] * 6, queries={task.name: judged()})
        task.check(fine, fine.caption, **checked)
        with pytest.raises(DataError, match=f"data shop .* task={task.name} .* {task.key} must"):
            task.check(single, single.caption, **checked)
    roles = torch.tensor([QUERY, GALLERY, QUERY, GALLERY, QUERY, QUERY])
    StreetTask().check(items([0, 0, 1, 1, 2, 2], role=roles), single.caption, **checked)
    with pytest.raises(DataError, match=r"1 products .* task=street"):
        StreetTask().check(items([0, 0, 1, 2, 3, 3], role=roles), single.caption, **checked)


def test_the_photos_of_a_batch_are_the_rows_and_earlier_ones_the_columns() -> None:
    rows = Batch(index=torch.tensor([0, 1]), product=torch.tensor([3, 4]))
    columns = Batch(index=torch.tensor([5, 6, 1]), product=torch.tensor([4, 9, 4]))
    found = ProductTask().relations(rows, columns, several_positives=False)["product"]
    assert found.positive.tolist() == [[False, False, False], [True, False, False]]
    assert found.negative.tolist() == [[True, True, True], [False, True, False]]
    assert found.classes is not None
    assert found.classes.tolist() == [3, 4]
