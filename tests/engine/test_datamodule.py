"""The data of a run: the batches of each task, those of an evaluation, and how it is resumed."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fashret.data.codes import ItemCodes
from fashret.data.sources import Sample
from fashret.engine.datamodule import FashionData
from fashret.errors import CheckpointError
from fashret.loading.batches import BatchLoader, FeatureLoader, PhotoDataset
from fashret.miners.none import NoMiner
from fashret.tasks import CaptionTask, ComposedTask, ProductTask, SearchLogTask
from fashret.types import JudgedQueries, TrainingItems

COUNT = 12
SPLITS = {"train": np.arange(0, 8), "test": np.array([8, 10]), "validation": np.array([9, 11])}
FEATURES = torch.arange(COUNT).float()[:, None].expand(-1, 3)


class Table:
    """As much of an item table as is read."""

    splits = tuple(SPLITS)

    def rows(self, split: str) -> Any:
        return SPLITS[split]


def queries(*, composed: bool = False, grade: float = 1.0) -> JudgedQueries:
    return JudgedQueries(
        ["a", "b"], ["train"] * 2, torch.tensor([0, 1]), torch.tensor([2, 5]),
        torch.tensor([1.0, grade]).double(), torch.ones(2).double(), torch.arange(2),
        torch.tensor([7, 3]) if composed else None,
    )  # fmt: skip


def codes() -> Any:
    made: Any = object.__new__(ItemCodes)
    made.product, made.caption, made.role = torch.arange(COUNT) + 50, torch.arange(COUNT), None
    made.captions, made.labels = [f"text {i}" for i in range(COUNT)], {}
    made.training_items = lambda table: "those of the table"
    return made


def data(training: TrainingItems | None = None, **given: Any) -> Any:
    plan: Any = SimpleNamespace(rows=np.array([1, 8, 9, 10, 11]))
    baseline: Any = SimpleNamespace(image_features=FEATURES, text_features=-FEATURES)
    known = training or TrainingItems(
        torch.arange(8), torch.arange(COUNT) // 2, torch.arange(COUNT), {}, [],
        queries={"search_log": queries(), "composed": queries(composed=True)},
    )  # fmt: skip
    table: Any = Table()
    return FashionData(
        table, codes(), Sample(batch_size=4), plan, baseline=baseline, training=known, **given
    )


def trainer_of(**given: Any) -> Any:
    plain: dict[str, Any] = {"overfit_batches": 0, "global_rank": 0, "world_size": 1}
    return SimpleNamespace(**plain | given)


def epoch(loader: Any, number: int = 0) -> list[dict[str, Any]]:
    loader.sampler.set_epoch(number)
    return list(loader)


def test_each_step_has_a_batch_of_each_task_with_the_texts_that_it_reads() -> None:
    made = data(tasks=[CaptionTask(), ProductTask()])
    loader = made.train_dataloader()
    assert isinstance(loader, FeatureLoader)
    steps = epoch(loader)
    assert len(steps) == 2  # 8 items in batches of 4
    for step in steps:
        assert list(step) == ["caption", "product"]
        caption, product = step["caption"], step["product"]
        for part in (caption, product):
            assert part["image_features"][:, 0].tolist() == part["index"].tolist()
            assert torch.equal(part["product"], part["index"] // 2)  # as they are trained on
        assert caption["text_features"][:, 0].tolist() == (-caption["index"]).tolist()
        assert "text_features" not in product
        assert len(product["product"].unique()) == 2
    assert sorted(i for step in steps for i in step["caption"]["index"].tolist()) == list(range(8))
    other = data(tasks=[CaptionTask(), ProductTask()], text_tasks=["product"])
    step = epoch(other.train_dataloader())[0]
    assert "text_features" in step["product"]
    assert "text_features" not in step["caption"]


def test_epochs_are_those_of_the_seed_and_differ_unless_a_batch_is_overfitted() -> None:
    def drawn(number: int, *, overfit: float = 0, **given: Any) -> list[list[int]]:
        made = data(**given)
        made.trainer = trainer_of(overfit_batches=overfit)
        return [
            step["caption"]["index"].tolist() for step in epoch(made.train_dataloader(), number)
        ]

    assert drawn(0) == drawn(0, seed=0)
    assert drawn(0) != drawn(1)
    assert drawn(0) != drawn(0, seed=1)
    assert drawn(0, overfit=2) == drawn(1, overfit=2)
    loader = data().train_dataloader()  # without a trainer
    first, second = (
        [step["caption"]["index"].tolist() for step in epoch(loader, number)] for number in (0, 1)
    )
    assert first == drawn(0)
    assert second == drawn(1)


@pytest.mark.parametrize("overfit", [0, 1])
def test_a_miner_composes_batches_but_not_those_that_are_overfitted(overfit: int) -> None:
    asked: list[tuple[Any, int]] = []

    class Mined(NoMiner):
        def compose(self, batches: Any, *, seed: int) -> Any:
            asked.append((batches, seed))
            return batches

    made = data(tasks=[CaptionTask(), ProductTask()], miner=Mined(), seed=5)
    made.trainer = trainer_of(overfit_batches=overfit)
    made.train_dataloader()
    assert [seed for _, seed in asked] == ([] if overfit else [5, 5])


def test_processes_have_their_share_of_the_batches() -> None:
    shares = []
    for rank in range(2):
        made = data()
        made.trainer = trainer_of(global_rank=rank, world_size=2)
        (step,) = epoch(made.train_dataloader())
        shares.append(step["caption"]["index"].tolist())
    assert sorted(shares[0] + shares[1]) == list(range(8))
    seen = []
    for rank in range(2):
        made = data()
        made.trainer = trainer_of(global_rank=rank, world_size=2)
        seen.append([part["index"].tolist() for part in made.val_dataloader()])
    assert len(seen[0]) == len(seen[1])  # so that both take part in every exchange
    assert {row for share in seen for part in share for row in part} == {1, 8, 9, 10, 11}


def test_an_evaluation_has_what_the_plan_needs_split_by_split_with_the_texts_and_products() -> None:
    made = data(text_tasks=[])
    parts = list(made.val_dataloader())
    assert [part["index"].tolist() for part in parts] == [[1], [8, 10], [9, 11]]
    for part in parts:
        assert part["text_features"][:, 0].tolist() == (-part["index"]).tolist()
        assert torch.equal(part["product"], part["index"] + 50)  # those of the data


def test_judged_queries_are_loaded_with_their_answers_and_their_references() -> None:
    inputs = {name: torch.tensor([[0.5, 0.5], [1.5, 1.5]]) for name in ("search_log", "composed")}
    tasks = [SearchLogTask(), ComposedTask(), CaptionTask()]
    step = epoch(data(tasks=tasks, query_inputs=inputs).train_dataloader())[0]
    answers, references = {0: 2, 1: 5}, {0: 7, 1: 3}
    for name in ("search_log", "composed"):
        batch = step[name]
        asked = batch["query"].tolist()
        assert batch["index"][: len(asked)].tolist() == [answers[query] for query in asked]
        assert batch["query_features"][:, 0].tolist() == [query + 0.5 for query in asked]
    composed = step["composed"]
    found = composed["index"][composed["reference"]].tolist()
    assert found == [references[query] for query in composed["query"].tolist()]
    assert "reference" not in step["search_log"]
    assert "query" not in step["caption"]
    plain = epoch(data(tasks=[CaptionTask()]).train_dataloader())[0]
    assert "query" not in plain["caption"]


def test_without_training_items_those_of_the_training_split_are_trained_on() -> None:
    table: Any = Table()
    nothing: Any = None
    made = FashionData(table, codes(), nothing, nothing, baseline=nothing)
    assert made.training == "those of the table"
    assert (list(made.query_inputs), list(made.validation_inputs), made.seed) == ([], [], 0)
    assert [task.name for task in made.tasks] == ["caption"]


@pytest.mark.parametrize(
    ("ready", "processed", "done"), [(3, 2, 5), (3, 3, 0), (1, 0, 5), (0, 0, 0)]
)
def test_finished_batches_of_an_unfinished_epoch_are_skipped_once(
    ready: int, processed: int, done: int
) -> None:
    made = data()
    loop = SimpleNamespace(
        epoch_progress=SimpleNamespace(current=SimpleNamespace(ready=ready, processed=processed)),
        epoch_loop=SimpleNamespace(
            batch_progress=SimpleNamespace(current=SimpleNamespace(processed=5))
        ),
    )
    made.trainer = trainer_of(fit_loop=loop)
    assert made.state_dict()["done"] == done
    other = data(tasks=[CaptionTask()])
    other.load_state_dict(made.state_dict() | {"done": 1})
    whole = [step["caption"]["index"].tolist() for step in epoch(data().train_dataloader())]
    loader = other.train_dataloader()
    assert [step["caption"]["index"].tolist() for step in epoch(loader)] == whole[1:]
    assert len(epoch(loader)) == 2
    assert len(epoch(other.train_dataloader())) == 2  # the next loader skips nothing


def test_a_run_is_not_resumed_with_other_judgments() -> None:
    def state(training: TrainingItems) -> dict[str, Any]:
        made = data(training)
        current = SimpleNamespace(ready=0, processed=0)
        progress = SimpleNamespace(current=current)
        made.trainer = trainer_of(
            fit_loop=SimpleNamespace(
                epoch_progress=progress, epoch_loop=SimpleNamespace(batch_progress=progress)
            )
        )
        found: dict[str, Any] = made.state_dict()
        return found

    known = data().training
    same = state(replace(known, queries=dict(reversed(known.queries.items()))))
    data().load_state_dict(same)  # in any order
    data().load_state_dict({"done": 0})  # of a checkpoint without a hash
    none = replace(known, queries={})
    assert state(none)["judged"] == ""
    data().load_state_dict(state(none))
    log = known.queries["search_log"]
    for changed in (
        {"search_log": log},  # one task less
        {**known.queries, "search_log": queries(grade=0.5)},
        {**known.queries, "search_log": replace(log, texts=["a", "c"])},
        {**known.queries, "search_log": replace(log, row=torch.tensor([2, 6]))},
        {**known.queries, "search_log": replace(log, query=torch.tensor([0, 0]))},
    ):
        with pytest.raises(CheckpointError, match="those that it began with"):
            data().load_state_dict(state(replace(known, queries=changed)))


class Backbone:
    """In place of trained towers."""

    min_side = 40

    def photo_transform(self) -> Any:
        return "transform"

    def tokenize(self, texts: Any) -> torch.Tensor:
        return torch.tensor([[len(text), 1] for text in texts])


def test_photos_are_loaded_for_towers_that_learn_with_augmentation_in_training_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    plain = PhotoDataset.__init__

    def recorded(self: PhotoDataset, *args: Any, **given: Any) -> None:
        made.append((args, given))
        plain(self, *args, **given)

    monkeypatch.setattr(PhotoDataset, "__init__", recorded)
    module = data(tasks=[CaptionTask(), ProductTask()], backbone=Backbone(), seed=4)
    module.source.augment, module.source.num_workers = "augment", 0
    assert isinstance(module.train_dataloader(), BatchLoader)
    assert isinstance(module.val_dataloader(), BatchLoader)
    (texts, of_texts), (photos, of_photos), (judged, of_judged) = made
    assert [len(args) for args in (texts, photos, judged)] == [
        4,
        3,
        4,
    ]  # tokens where texts are read
    for args, given, augment in (
        (texts, of_texts, "augment"), (photos, of_photos, "augment"), (judged, of_judged, None),
    ):  # fmt: skip
        assert args[2] == "transform"
        assert (given["augment"], given["seed"], given["min_side"]) == (augment, 4, 40)
    assert texts[3].tolist() == judged[3].tolist() == [[len(f"text {i}"), 1] for i in range(COUNT)]
    assert of_texts["captions"] is of_judged["captions"] is None
    assert torch.equal(texts[1].product, torch.arange(COUNT) // 2)
    assert torch.equal(judged[1].product, torch.arange(COUNT) + 50)


def test_captions_are_filled_for_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "fashret.engine.datamodule.PhotoDataset",
        lambda *args, **given: made.append(given | {"tokens": args[3]}),
    )
    merged: list[Any] = []

    class Filled:
        captions = ("a", "bb", "ccc")

        def merge_equal_tokens(self, tokens: Any) -> Any:
            merged.append(tokens)
            return "merged"

    module = data(backbone=Backbone())
    module.source.captions = SimpleNamespace(fill=lambda table: Filled())
    module._dataset(training=True, task=CaptionTask())
    module._dataset(training=False)
    assert [given["captions"] for given in made] == ["merged", None]
    assert made[0]["tokens"].tolist() == merged[0].tolist() == [[1, 1], [2, 1], [3, 1]]
    assert len(made[1]["tokens"]) == COUNT
