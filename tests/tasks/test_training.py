"""What a run trains for: which pairs count, which towers learn, and several tasks at once."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fashret.data.learnable import check_products
from fashret.engine.memory_bank import MemoryBank
from fashret.errors import ConfigError, DataError
from fashret.loading.samplers import ShuffledSampler
from fashret.loading.task_batches import TaskDataset, TaskSampler
from fashret.models.checkpoint import is_text_weight, read_checkpoint
from fashret.tasks import AttributeTask, CaptionTask, ProductTask, StreetTask
from fashret.tasks.training import TrainingTask
from fashret.types import GALLERY, QUERY, UNKNOWN, Batch, TrainingItems
from support.commands import Run, lines, metrics

pytestmark = pytest.mark.usefixtures("stand_ins")


def batch() -> Batch:
    """Six photos: 0 and 1 are one product, as are 2, 3 and 5; 4 has none. 3 is 2 once more."""
    return Batch(
        index=torch.tensor([10, 11, 12, 12, 14, 15]),
        product=torch.tensor([7, 7, 3, 3, UNKNOWN, 3]),
        caption=torch.full((6,), UNKNOWN),
    )


def pairs(mask: Tensor) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in mask.nonzero()}


def test_photos_of_one_product_are_positives_and_a_photo_is_nothing_to_itself() -> None:
    found = ProductTask().relations(batch(), batch(), several_positives=False)["product"]
    assert pairs(found.positive) == {(0, 1), (1, 0), (2, 5), (3, 5), (5, 2), (5, 3)}
    others = {(i, j) for i in (0, 1) for j in (2, 3, 5)}
    assert pairs(found.negative) == others | {(j, i) for i, j in others}
    assert found.classes is not None
    assert found.classes.tolist() == batch()["product"].tolist()


def test_photos_that_ask_are_compared_with_those_that_are_searched() -> None:
    made = batch()
    made["role"] = torch.tensor([QUERY, GALLERY, QUERY, QUERY, GALLERY, UNKNOWN])
    found = StreetTask().relations(made, made, several_positives=False)["street"]
    # 5 may ask and may be searched.
    assert pairs(found.positive) == {(0, 1), (2, 5), (3, 5)}
    assert pairs(found.negative) == {(2, 1), (3, 1), (5, 1), (0, 5)}


def test_photos_with_equal_values_are_positives_by_each_attribute() -> None:
    labels = {
        "category": (torch.tensor([0, 0, 1, 1, UNKNOWN]), ["tees", "coats"]),
        "colour": (torch.tensor([0, 1, 1, UNKNOWN, 1]), ["red", "blue"]),
    }
    nothing = torch.full((5,), UNKNOWN)
    known = TrainingItems(torch.arange(5), nothing, nothing, labels, list("abcde"))
    task = AttributeTask(attributes=["colour"])
    task.sampler(known, source(), seed=0)
    made = Batch(index=torch.tensor([0, 1, 2, 3, 4, 2]), product=nothing, caption=nothing)
    found = task.relations(made, made, several_positives=False)
    assert list(found) == ["colour"]
    blue = (1, 2, 4, 5)
    assert pairs(found["colour"].positive) == {
        (i, j) for i in blue for j in blue if i != j and {i, j} != {2, 5}
    }
    assert pairs(found["colour"].negative) == {(0, j) for j in blue} | {(j, 0) for j in blue}
    every = AttributeTask()
    every.sampler(known, source(), seed=0)
    assert set(every.relations(made, made, several_positives=False)) == {"category", "colour"}
    with pytest.raises(ConfigError, match=r"task\.attribute\.attributes names color"):
        AttributeTask(attributes=["color"]).sampler(known, source(), seed=0)


def source() -> Any:
    from fashret.data.sources import Sample

    return Sample(batch_size=8)


@pytest.mark.parametrize("task", [CaptionTask, ProductTask, StreetTask, AttributeTask])
def test_weights_and_memories_are_within_their_ranges(task: type[TrainingTask]) -> None:
    for options in ({"weight": 0.0}, {"memory": -1}):
        with pytest.raises(ConfigError, match=rf"task\.{task.name}: weight="):
            task(**options)  # type: ignore[arg-type]  # both are numbers


@pytest.mark.parametrize(
    ("product", "fault"),
    [
        ([UNKNOWN] * 4, "none of its 4 training items has a product"),
        ([0, 1, 2, 3], "0 products of its 4 training items have two or more photos"),
        ([0, 0, 0, 1], "1 products of its 4 training items have two or more photos"),
    ],
)
def test_products_of_one_photo_are_refused_with_the_task_that_fits(
    product: list[int], fault: str
) -> None:
    caption = torch.arange(4)
    category = torch.tensor([0, 0, 1, 1])
    made = TrainingItems(
        torch.arange(4), torch.tensor(product), caption, {"category": (category, ["a", "b"])}, []
    )
    with pytest.raises(DataError, match=fault) as raised:
        ProductTask().check(made, caption, data="shop", batch_items=8, values=False)
    assert "task=caption trains on the 4 items with a text" in str(raised.value)
    assert "task=attribute trains on the values of category" in str(raised.value)
    assert "task=product trains" not in str(raised.value)


def test_roles_that_do_not_meet_are_refused() -> None:
    import numpy as np

    product = torch.tensor([0, 0, 1, 1, 2, 2])
    made = TrainingItems(torch.arange(6), product, product, {}, [])
    sides = np.array([0, 2, 4]), np.array([1])
    with pytest.raises(DataError, match=r"1 products .* have both a photo of role query and one"):
        check_products(made, made.caption, sides, data="shop", task="street")


def test_a_task_of_fewer_batches_begins_again() -> None:
    import numpy as np

    long = ShuffledSampler(np.arange(12), batch_size=2, seed=0)
    short = ShuffledSampler(np.arange(100, 104), batch_size=2, seed=0)
    steps = TaskSampler({"a": long, "b": short})
    assert len(steps) == 6

    def epoch(number: int) -> list[list[int]]:
        steps.set_epoch(number)
        drawn = list(steps)
        assert sorted(r for step in drawn for r in step["a"].rows.tolist()) == list(range(12))
        return [step["b"].rows.tolist() for step in drawn]

    first, second = epoch(0), epoch(1)
    assert sorted(row for step in first for row in step) == sorted([*range(100, 104)] * 3)
    assert len({str(part) for part in (first[:2], first[2:4], first[4:], second[:2])}) > 1
    assert epoch(1) == second
    assert first != second
    assert first[:2] != first[2:4]
    steps.set_epoch(1)
    steps.num_done = 4
    assert [step["b"].rows.tolist() for step in steps] == second[4:]


def test_a_memory_keeps_the_latest_embeddings() -> None:
    memory = MemoryBank(5, 2)
    embeddings = torch.arange(12.0).view(6, 2)
    first = {k: v[:3] for k, v in batch().items()}  # type: ignore[index]  # tensors
    memory.add(embeddings[:3].requires_grad_(), first)  # type: ignore[arg-type]  # a batch
    columns, codes = memory.stored(batch())
    assert columns.tolist() == embeddings[:3].tolist()
    assert not columns.requires_grad
    assert codes["product"].tolist() == [7, 7, 3]
    assert "role" not in codes
    memory.add(embeddings[3:], {k: v[3:] for k, v in batch().items()})  # type: ignore[arg-type, index]  # a batch
    columns, codes = memory.stored(batch())
    # The sixth took the place of the first.
    assert columns.tolist() == embeddings[[5, 1, 2, 3, 4]].tolist()
    assert codes["index"].tolist() == [15, 11, 12, 12, 14]
    answers = batch() | {"asked": torch.arange(6)}
    memory.add(embeddings, answers)  # type: ignore[arg-type]  # a batch
    assert sorted(memory.stored(answers)[1]["asked"].tolist()) == [1, 2, 3, 4, 5]  # type: ignore[arg-type]  # a batch
    memory.add(torch.ones(6, 2), batch())  # more than there is room for: the last five
    columns, codes = memory.stored(batch())
    assert sorted(codes["index"].tolist()) == [11, 12, 12, 14, 15]
    copy = MemoryBank(5, 2)
    copy.load_state_dict(memory.state_dict())
    assert copy.stored(batch())[0].tolist() == columns.tolist()


TOWERS = ("model.pretrained=null", "model.train=all", "trainer.max_epochs=2")


def test_photos_are_trained_without_any_text(run: Run, text_free: Path) -> None:
    folder = run(
        "train", "task=product", "data=folder", f"data.root={text_free}", *TOWERS, small=False,
    )  # fmt: skip
    config, state = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    learned = [name.removeprefix("retriever.") for name in state if name.startswith("retriever.")]
    assert learned
    assert not any(map(is_text_weight, learned))
    assert list(config["task"]) == ["product"]
    assert lines(folder)[-1]["train/rows_without_pair"] == 0.0
    assert metrics(folder)["test/image/product/hit@1"]["n"] > 0
    again = run("evaluate", f"run={folder}", folder="again", small=False)
    assert metrics(again)["test/image/product/hit@1"] == metrics(folder)["test/image/product/hit@1"]


@pytest.fixture
def text_free(tmp_path: Path) -> Path:
    """Two photos of each of forty products, in folders, without a table."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(40):
        pattern = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        for view in (1, 2):
            noisy = pattern.astype(int) + rng.integers(-20, 20, pattern.shape)
            image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).resize((48, 48))
            path = tmp_path / "photos" / f"tees/AB{10000 + number}_{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    return tmp_path / "photos"


def test_several_tasks_are_trained_in_each_step(run: Run) -> None:
    both = run("train", "task=[caption,product]", "task.product.weight=0.5", "loss=supcon", *TOWERS)
    logged = lines(both)[-1]
    assert {"train/caption_rows_without_pair", "train/product_rows_without_pair"} <= set(logged)
    parts = [logged[f"train/{task}_loss_contrastive"] for task in ("caption", "product")]
    assert logged["train/loss"] == pytest.approx(parts[0] + 0.5 * parts[1], rel=1e-5)
    state = read_checkpoint(both / "checkpoints" / "last.ckpt")[1]
    assert any(map(is_text_weight, (name.removeprefix("retriever.") for name in state)))
    # Each task has learned a temperature of its own.
    assert state["loss.log_scale"] != state["task_losses.product.log_scale"]


def test_the_first_task_names_the_metric_that_is_monitored(run: Run) -> None:
    folder = run("train", "task=attribute", "task.attribute.attributes=[neckline]", *TOWERS)
    line = (folder / "checkpoints").glob("best*.ckpt")
    assert list(line)
    assert "val/image/category/precision@10" in lines(folder)[-1]


def test_earlier_batches_are_compared_as_well_and_come_back_after_a_resume(run: Run) -> None:
    options = ("task=product", "task.product.memory=40", "loss=supcon")
    whole = run("train", *options, *TOWERS, folder="whole")
    run("train", *options, *TOWERS[:2], "trainer.max_epochs=1", folder="part")
    half = read_checkpoint(run.at("part") / "checkpoints" / "last.ckpt")[1]
    assert int(half["memories.product.added"]) > 40
    resumed = run("train", *options, *TOWERS, f"resume={run.at('part')}", folder="part")
    one, two = (read_checkpoint(f / "checkpoints" / "last.ckpt")[1] for f in (whole, resumed))
    assert one["memories.product.added"] == two["memories.product.added"]
    without = run("train", "task=product", "loss=supcon", *TOWERS, folder="without")
    assert lines(whole)[-1]["train/loss"] > lines(without)[-1]["train/loss"]


def test_a_data_set_of_several_tasks_is_as_long_as_the_longest() -> None:
    longer: Any = [0] * 7
    shorter: Any = [0] * 3
    assert len(TaskDataset({"a": shorter, "b": longer})) == 7
