"""A training step by its parts, what a run logs, and an epoch that teaches nothing."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from fashret.engine.layerwise import LayerwiseAdamW
from fashret.engine.module import RetrievalModule
from fashret.engine.schedules import constant
from fashret.errors import FashretError, TrainingError
from fashret.losses import AttributeBlocks, Composite, InfoNCE
from fashret.miners.none import NoMiner
from fashret.models.composer import plain_mean
from fashret.models.heads import Projection
from fashret.models.retriever import Retriever
from fashret.tasks import AttributeTask, CaptionTask, ComposedTask, ProductTask, caption
from fashret.tasks.training import TrainingTask
from fashret.types import Batch, JudgedQueries, Relations
from support.batches import batch, items
from support.commands import Run
from support.towers import towers


def scalars(folder: Path, tag: str) -> dict[int, float]:
    """The values of a TensorBoard tag by step."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(tag)}


pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.mark.parametrize(("every", "steps"), [(2, [2, 3, 4, 6, 8, 9]), (10, [3, 6, 9])])
def test_tensorboard_shows_each_value_at_its_own_step(
    run: Run, monkeypatch: pytest.MonkeyPatch, every: int, steps: list[int]
) -> None:
    """Three epochs of three batches: every nth step, and the last of each epoch."""
    losses: dict[int, float] = {}
    plain = RetrievalModule.training_step

    def recorded(self: RetrievalModule, step: dict[str, Batch], batch_idx: int) -> Tensor:
        loss = plain(self, step, batch_idx)
        losses[self.global_step + 1] = float(loss.detach())
        return loss

    monkeypatch.setattr(RetrievalModule, "training_step", recorded)
    options = (f"trainer.log_every_n_steps={every}", "trainer.max_epochs=3", "optimizer.lr=0.01")
    folder = run("train", *options)
    assert sorted(losses) == list(range(1, 10))
    shown = scalars(folder, "train/loss")
    assert list(shown) == steps
    assert shown == pytest.approx({step: losses[step] for step in steps}, rel=1e-5)
    # warmup 0.1 of 9 steps: a rise of 0.9 steps, then a cosine over the other 8.1
    rates = scalars(folder, "train/lr")
    assert list(rates) == steps
    cosine = [0.5 * (1 + torch.cos(torch.tensor(3.14159265 * (s - 1 - 0.9) / 8.1))) for s in steps]
    assert list(rates.values()) == pytest.approx([0.01 * float(c) for c in cosine], rel=1e-4)
    assert set(scalars(folder, "train/rows_without_pair")) == set(steps)


def test_an_epoch_without_a_valid_pair_ends_the_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(rows: Batch, columns: Batch, **_: Any) -> Relations:
        shape = (len(rows["index"]), len(columns["index"]))
        return Relations(torch.zeros(shape).bool(), torch.zeros(shape).bool())

    monkeypatch.setattr(caption, "pair_relations", none)
    with pytest.raises(TrainingError, match="nothing was learned in this epoch"):
        run("train", "trainer.max_epochs=3")
    assert not list(run.at("run").glob("checkpoints/*.ckpt"))
    assert set(scalars(run.at("run"), "train/rows_without_pair").values()) == {1.0}


class Strategy:
    """In place of Lightning's: the other processes say what they are given."""

    root_device = torch.device("cpu")

    def __init__(self, others: bool = False) -> None:
        self.others = others

    def reduce_boolean_decision(self, decision: bool, all: bool) -> bool:
        assert not all
        return decision or self.others


def made(
    tasks: Sequence[TrainingTask] = (CaptionTask(),),
    *,
    loss: Any = None,
    blocks: bool = False,
    trainer: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """A module of two heads over stored features, and what it needs of a trainer."""
    generator = torch.Generator().manual_seed(0)

    def head(width: int, features: int) -> Projection:
        return Projection(torch.randn(width, features, generator=generator), None)

    own = {"colour": (head(2, 3), head(2, 5))} if blocks else None
    retriever = Retriever(head(4, 3), head(4, 5), own)
    given: dict[str, Any] = {
        "optimizer": partial(torch.optim.SGD, lr=0.1),
        "scheduler": constant,
    }
    module: Any = RetrievalModule(
        retriever, InfoNCE() if loss is None else loss, NoMiner(), AttributeBlocks(),
        config={}, tasks=tasks, **given | options,
    )  # fmt: skip
    plain: dict[str, Any] = {
        "world_size": 1, "is_last_batch": False, "log_every_n_steps": 1, "global_step": 0,
        "accumulate_grad_batches": 1, "callback_metrics": {}, "loggers": [], "strategy": Strategy(),
        "optimizers": [SimpleNamespace(param_groups=[{"lr": 0.25}, {"lr": 0.5}])],
        "max_epochs": 3, "estimated_stepping_batches": 30,
    }  # fmt: skip
    module._trainer = SimpleNamespace(**plain | (trainer or {}))
    return module


def featured(seed: int = 1, *, texts: bool = True) -> Batch:
    """The six items of `batch`, with stored features."""
    generator = torch.Generator().manual_seed(seed)
    found = batch() | {"image_features": torch.randn(6, 3, generator=generator)}
    if texts:
        found["text_features"] = torch.randn(6, 5, generator=generator)
    return found  # type: ignore[return-value]  # a batch


def plain_loss(module: Any, given: Batch, task: TrainingTask, loss: Any = None) -> Tensor:
    """The loss of a task on a batch, from embeddings and relations."""
    images, texts = module.retriever(given)
    queries = module.retriever.embed_queries(given)
    rows, columns = task.sides(images, texts, queries)
    (relations,) = task.relations(given, given, several_positives=False).values()
    value: Tensor = (loss or module.loss)(rows, columns, relations)
    return value


def test_a_step_is_the_weighted_sum_of_its_tasks_each_on_its_own_batch() -> None:
    tasks = [CaptionTask(weight=2.0), ProductTask(weight=0.5)]
    module = made(tasks)
    one, two = featured(1), featured(2)
    assert list(module.task_losses) == ["product"]
    assert module.task_losses["product"] is not module.loss  # a temperature of its own
    module.task_losses["product"].log_scale.data += 0.5
    expected = 2.0 * plain_loss(module, one, tasks[0])
    expected += 0.5 * plain_loss(module, two, tasks[1], module.task_losses["product"])
    found = module.training_step({"caption": one, "product": two}, 0)
    torch.testing.assert_close(found, expected)
    logged = module._logged
    assert {name for name in logged if name.startswith("train/caption")} == {
        "train/caption_rows_without_pair", "train/caption_loss_contrastive",
    }  # fmt: skip
    torch.testing.assert_close(
        logged["train/product_loss_contrastive"],
        plain_loss(module, two, tasks[1], module.task_losses["product"]).detach(),
    )
    # Of the photos, only 0 and 1 have another of their product; row 5 alone has no caption.
    assert float(logged["train/product_rows_without_pair"]) == pytest.approx(4 / 6)
    assert float(logged["train/caption_rows_without_pair"]) == pytest.approx(1 / 6)


def test_parts_of_a_composite_loss_and_of_blocks_are_added_and_logged() -> None:
    class Halved(nn.Module):
        logged: ClassVar[dict[str, Tensor]] = {"accuracy_x": torch.tensor(0.75)}

        def forward(self, images: Tensor, texts: Tensor, given: Batch) -> Tensor:
            return (images - texts).abs().sum() / 2

    loss = Composite(contrastive=InfoNCE(), terms={"apart": Halved(), "none": None})
    module = made([CaptionTask(), ProductTask()], loss=loss, blocks=True)
    labels: Any = {"colour": (torch.tensor([0, 0, 1, 1, 0, 1]), ["red", "blue"])}
    module.block_loss.prepare(items(labels), None)
    one, two = featured(1), featured(2)
    value = module.training_step({"caption": one, "product": two}, 0)
    logged = module._logged
    parts = {
        n.removeprefix("train/caption_loss_"): v for n, v in logged.items() if "caption_l" in n
    }
    assert set(parts) == {"contrastive", "apart", "blocks"}
    images, texts = module.retriever(one)
    layout = module.retriever.layout
    general = [layout.block(part) for part in (images, texts)]
    relations = CaptionTask().relations(one, one, several_positives=False)["caption"]
    torch.testing.assert_close(parts["contrastive"], loss.contrastive(*general, relations).detach())
    expected = (general[0] - general[1]).abs().sum().detach() / 2
    torch.testing.assert_close(parts["apart"], expected)
    of_blocks = module.block_loss(images, texts, one, layout).detach()
    torch.testing.assert_close(parts["blocks"], of_blocks)
    # The second task has neither terms nor blocks.
    assert [n for n in logged if n.startswith("train/product_loss")] == [
        "train/product_loss_contrastive"
    ]
    torch.testing.assert_close(
        value.detach(), sum(parts.values()) + logged["train/product_loss_contrastive"]
    )
    assert logged["train/loss"] == value.detach()
    assert float(logged["train/accuracy_x"]) == 0.75
    assert "train/loss_block_colour" in logged
    assert float(logged["train/temperature"]) == pytest.approx(0.07)
    assert logged["train/lr"] == 0.25  # of the first group


def test_the_only_part_of_the_only_task_is_logged_as_the_loss_alone() -> None:
    module = made()
    module.training_step({"caption": featured()}, 0)
    assert set(module._logged) == {
        "train/loss", "train/lr", "train/temperature", "train/rows_without_pair",
    }  # fmt: skip


def test_the_losses_of_attributes_are_averaged() -> None:
    task = AttributeTask()
    labels: Any = {
        "colour": (torch.tensor([0, 0, 1, 1, 0, 1]), ["red", "blue"]),
        "fabric": (torch.tensor([0, 1, 0, 1, 1, 1]), ["silk", "wool"]),
    }
    module, given = made([task]), featured()
    task._labels.update({name: codes for name, (codes, _) in labels.items()})
    images = module.retriever(given)[0]
    losses = [
        module.loss(images, images, part)
        for part in task.relations(given, given, several_positives=False).values()
    ]
    found = module.training_step({"attribute": given}, 0)
    torch.testing.assert_close(found, (losses[0] + losses[1]) / 2)


def test_earlier_batches_are_further_columns_from_the_second_step_on() -> None:
    task = CaptionTask(memory=4)
    module = made([task])
    one, two = featured(1), featured(2)
    two["index"] = two["index"] + 6
    torch.testing.assert_close(
        module.training_step({"caption": one}, 0), plain_loss(module, one, task)
    )
    images, texts = module.retriever(two)[0], module.retriever(one)[1][2:].detach()
    codes: Any = {name: one[name][2:] for name in ("index", "product", "caption")}  # type: ignore[literal-required]
    relations = task.relations(two, codes, several_positives=False)["caption"]
    # The caption of an item is its own positive, so that none of the earlier ones is.
    assert not bool(relations.positive.any())
    codes["index"] = torch.tensor([6, 7, 8, 9])  # the same items once more
    module.memories["caption"].codes[:, 0] = codes["index"]
    relations = task.relations(two, codes, several_positives=False)["caption"]
    expected = plain_loss(module, two, task) + module.loss(images, texts, relations)
    found = module.training_step({"caption": two}, 1)
    torch.testing.assert_close(found, expected)
    assert found.detach() > plain_loss(module, two, task).detach() + 0.01


def test_a_batch_without_texts_has_no_captions() -> None:
    task = ProductTask()
    module, given = made([task]), featured(texts=False)
    module.training_step({"product": given}, 0)
    assert given["caption"].tolist() == [-1] * 6
    for name in ("text_features", "tokens"):
        kept = featured()
        features = kept.pop("text_features")
        kept[name] = features  # type: ignore[literal-required]  # one of both
        module.training_step({"product": kept}, 0)
        assert kept["caption"].tolist() == batch()["caption"].tolist()


def test_judged_queries_are_composed_with_their_reference_and_find_their_answers() -> None:
    task = ComposedTask()
    queries = JudgedQueries(
        ["a", "b"], ["train"] * 2, torch.tensor([0, 1]), torch.tensor([0, 1]),
        torch.ones(2).double(), torch.ones(2).double(), torch.arange(2), torch.tensor([4, 5]),
    )  # fmt: skip
    module, given = made([task], queries={"composed": queries}), featured()
    given["query"] = torch.tensor([0, 1])
    given["reference"] = torch.tensor([4, 3])
    given["query_features"] = torch.randn(2, 5, generator=torch.Generator().manual_seed(7))
    images, _ = module.retriever(given)
    composed = plain_mean(images[[4, 3]], module.retriever.embed_queries(given))
    positive = torch.zeros(2, 6, dtype=torch.bool)
    positive[0, 0] = positive[1, 1] = True
    relations = Relations(positive, ~positive, weight=positive.float())
    expected = module.loss(composed, images, relations)
    torch.testing.assert_close(module.training_step({"composed": given}, 0), expected)


@pytest.mark.parametrize("gather", [None, True, False])
def test_processes_learn_from_one_another_unless_they_shall_not(gather: bool | None) -> None:
    """The other process has the batch of another seed, of other items."""
    one, two = featured(1), featured(2)
    for name, more in (("index", 6), ("product", 3), ("caption", 4)):
        two[name] = torch.where(two[name] < 0, -1, two[name] + more)  # type: ignore[literal-required]
    given: dict[str, Any] = {} if gather is None else {"gather": gather}
    module = made(**given, trainer={"world_size": 2})
    others = [*module.retriever(two), two["index"], two["product"], two["caption"]]
    asked: list[bool] = []

    def all_gather(part: Tensor, sync_grads: bool) -> Tensor:
        asked.append(sync_grads)
        return torch.stack([part, others[len(asked) - 1]])

    module.all_gather = all_gather
    found = module.training_step({"caption": one}, 0)
    if gather is False:
        torch.testing.assert_close(found, plain_loss(module, one, CaptionTask()))
        assert asked == []
        return
    assert asked == [True, True, False, False, False]  # embeddings alone have a gradient
    codes: Any = {
        name: torch.cat([one[name], two[name]])  # type: ignore[literal-required]
        for name in ("index", "product", "caption")
    }
    images, texts = (
        torch.cat(pair) for pair in zip(module.retriever(one), module.retriever(two), strict=True)
    )
    relations = CaptionTask().relations(codes, codes, several_positives=False)["caption"]
    torch.testing.assert_close(found, module.loss(images, texts, relations))


@pytest.mark.parametrize(
    ("number", "last", "accumulated", "every", "done", "logged"),
    [
        (0, False, 1, 1, 0, True),
        (0, False, 1, 2, 0, False),
        (1, False, 1, 2, 1, True),
        (2, False, 1, 2, 2, False),
        (2, True, 1, 2, 2, True),  # the last of an epoch
        (0, False, 2, 1, 0, False),  # half a step
        (1, False, 2, 1, 0, True),
        (3, False, 2, 2, 1, True),
        (0, False, 3, 1, 0, False),
        (1, False, 3, 1, 0, False),
        (2, False, 3, 1, 0, True),
        (2, True, 2, 5, 1, True),  # the last step has one batch
        (0, True, 1, 0, 0, False),  # nothing shall be logged
        (0, False, 1, 0, 0, False),
    ],
)
def test_values_are_logged_every_nth_step_and_at_the_end_of_an_epoch(
    number: int, last: bool, accumulated: int, every: int, done: int, logged: bool
) -> None:
    shown: list[tuple[dict[str, float], int]] = []
    logger = SimpleNamespace(log_metrics=lambda numbers, step: shown.append((numbers, step)))
    trainer = {
        "is_last_batch": last, "accumulate_grad_batches": accumulated, "log_every_n_steps": every,
        "global_step": done, "loggers": [logger, logger],
    }  # fmt: skip
    module = made(trainer=trainer)
    options: list[dict[str, Any]] = []

    def log_dict(values: dict[str, Any], **given: Any) -> None:
        module.trainer.callback_metrics |= {n: torch.as_tensor(v) for n, v in values.items()}
        options.append(given)

    module.log_dict = log_dict
    module.log = lambda name, value, **given: log_dict({name: value}, **given)
    loss = module.training_step({"caption": featured()}, number)
    module.on_train_batch_end(loss, None, number)
    assert len(shown) == 2 * logged
    if not logged:
        assert options == []
        return
    numbers, step = shown[0]
    assert step == done
    assert numbers["train/loss"] == pytest.approx(float(loss.detach()))
    assert numbers["train/lr"] == 0.25
    assert numbers["train/rows_without_pair"] == pytest.approx(1 / 6)
    assert options == [{"prog_bar": True, "logger": False}, {"logger": False}]
    module.on_train_batch_end(loss, None, number)
    assert len(shown) == 2  # once


def test_weights_without_decay_and_schedules_have_what_they_need() -> None:
    seen: dict[str, Any] = {}

    def optimizer(groups: Any) -> torch.optim.Optimizer:
        seen["groups"] = list(groups)
        return torch.optim.SGD([{**group} for group in seen["groups"]], lr=0.1)

    def scheduler(given: Any, *, steps_per_epoch: float) -> Any:
        seen["steps"] = steps_per_epoch
        return constant(given, steps_per_epoch=steps_per_epoch)

    for epochs, steps in ((3, 10.0), (-1, 1.0), (None, 1.0), (1, 30.0)):
        module = made(optimizer=optimizer, scheduler=scheduler, trainer={"max_epochs": epochs})
        found = module.configure_optimizers()
        assert seen["steps"] == steps
    assert isinstance(found["optimizer"], torch.optim.SGD)
    assert found["lr_scheduler"]["interval"] == "step"
    heads, scale = seen["groups"]
    retriever = module.retriever
    assert [id(p) for p in heads["params"]] == [
        id(retriever.image_head.weight), id(retriever.text_head.weight),
    ]  # fmt: skip
    assert "weight_decay" not in heads
    assert [id(p) for p in scale["params"]] == [id(module.loss.log_scale)]
    assert scale["weight_decay"] == 0.0
    assert heads["depth"] == scale["depth"] == 0
    module.retriever.text_head.weight.requires_grad_(False)
    module.configure_optimizers()
    assert len(seen["groups"][0]["params"]) == 1  # what does not learn is in no group


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_towers_are_grouped_by_depth_where_the_optimizer_decays_by_it(
    decay: float, tmp_path: Path
) -> None:
    retriever = towers("vit", tmp_path)
    make = partial(
        LayerwiseAdamW, lr=1e-3, layer_decay=decay, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1
    )
    module: Any = RetrievalModule(
        retriever, InfoNCE(), NoMiner(), AttributeBlocks(), make, constant, {}
    )
    module._trainer = SimpleNamespace(max_epochs=1, estimated_stepping_batches=2)
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert retriever.backbone is not None
    names = {id(p): name for name, p in retriever.backbone.named_parameters()}
    depths = retriever.backbone.depths()
    assert [group["depth"] for group in groups] == sorted(group["depth"] for group in groups)
    for group in groups:
        for parameter in group["params"]:
            expected = depths[names[id(parameter)]] if id(parameter) in names else 0
            assert group["depth"] == (expected if decay != 1.0 else 0)
            assert (group["weight_decay"] == 0.0) == (parameter.ndim <= 1)
        assert group["lr"] == pytest.approx(1e-3 * decay ** group["depth"])
    learning = [p for p in module.parameters() if p.requires_grad]
    assert sum(len(group["params"]) for group in groups) == len(learning)


@pytest.mark.parametrize("to_initial", [True, False])
def test_heads_decay_to_where_they_began_and_other_weights_to_zero(to_initial: bool) -> None:
    module = made(
        blocks=True, optimizer=partial(torch.optim.SGD, lr=0.1, weight_decay=0.5),
        decay_to_initial=to_initial,
    )  # fmt: skip
    module.retriever.composer = nn.Linear(3, 3, bias=False)
    optimizer = module.configure_optimizers()["optimizer"]
    start = {name: p.detach().clone() for name, p in module.named_parameters()}
    for parameter in module.parameters():
        parameter.data += 1.0
        parameter.grad = torch.zeros_like(parameter)
    moved = {name: p.detach().clone() for name, p in module.named_parameters()}
    module.on_before_optimizer_step(optimizer)
    optimizer.step()
    heads = 0
    for name, parameter in module.named_parameters():
        is_head = "head" in name or "block_" in name
        heads += is_head
        towards = start[name] if is_head and to_initial else torch.zeros_like(start[name])
        rate = 0.05 if parameter.ndim > 1 else 0.0
        expected = moved[name] - rate * (moved[name] - towards)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-5, atol=1e-6)
    assert heads == 4  # of photos and of texts, of the embedding and of the attribute


@pytest.mark.parametrize(
    ("gradients", "others", "ends"),
    [
        ([], False, False),  # no step was taken
        ([0.0], False, True),
        ([0.0, 0.0], True, False),  # another process has learned
        ([0.0, 1e-8], False, False),
        ([1.0, 0.0], False, False),
    ],
)
def test_an_epoch_of_zero_gradients_ends_the_run(
    gradients: list[float], others: bool, ends: bool
) -> None:
    module = made([CaptionTask(), ProductTask()], trainer={"strategy": Strategy(others)})
    optimizer = module.configure_optimizers()["optimizer"]
    for value in gradients:
        module.loss.log_scale.grad = torch.tensor(value)  # the others have no gradient at all
        module.on_before_optimizer_step(optimizer)
    if not ends:
        module.on_train_epoch_end()
        return
    with pytest.raises(TrainingError, match=r"a positive and a negative of caption or product\)"):
        module.on_train_epoch_end()


def test_a_step_clamps_every_learned_temperature() -> None:
    module = made([CaptionTask(), ProductTask()])
    for loss in (module.loss, module.task_losses["product"]):
        loss.log_scale.data.fill_(50.0)
    taken: list[Any] = []
    optimizer = SimpleNamespace(step=lambda closure: taken.append(closure()))
    module.optimizer_step(0, 0, optimizer, lambda: 5)
    assert taken == [5]
    for loss in (module.loss, module.task_losses["product"]):
        assert float(loss.scale().detach()) == pytest.approx(100.0)


def test_gradients_are_clipped_by_lightning_or_by_one_norm_over_all_shards() -> None:
    module = made()
    given: list[Any] = []
    module.clip_gradients = lambda *args: given.append(args)
    optimizer = module.configure_optimizers()["optimizer"]
    module.configure_gradient_clipping(optimizer, 0.5, "norm")
    assert given == [(optimizer, 0.5, "norm")]
    module._trainer.strategy = object.__new__(ModelParallelStrategy)
    for value, norm in ((None, 6.0), (3.0, 3.0)):
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        module.loss.log_scale.grad.fill_(6.0)
        module.configure_gradient_clipping(optimizer, value)
        assert float(module.loss.log_scale.grad) == pytest.approx(norm)
    assert len(given) == 1


def test_towers_are_sharded_once_and_only_where_the_strategy_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("fashret.engine.module.shard", lambda *args: asked.append(args))
    module = made()
    module.configure_model()
    assert asked == []

    class Sharded(ModelParallelStrategy):
        root_device = torch.device("cpu")  # type: ignore[assignment]  # a property there

        def __init__(self) -> None:
            pass

    module._trainer.strategy = Sharded()
    module.configure_model()
    assert asked == [(module.retriever, (module.loss, module.block_loss), torch.device("cpu"))]
    monkeypatch.setattr(
        "fashret.engine.module.is_sharded", lambda p: p is module.retriever.text_head.weight
    )
    module.configure_model()  # a part is sharded already
    assert len(asked) == 1


def test_validation_embeds_in_full_precision() -> None:
    module, given = made(), featured()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module.validation_step(given, 0)
    images, texts = module.retriever(given)
    assert torch.equal(found["index"], given["index"])
    assert torch.equal(found["image"], images)
    assert torch.equal(found["text"], texts)


def test_a_checkpoint_has_what_was_trained_and_is_refused_where_it_lacks_some() -> None:
    module = made([CaptionTask(memory=3), ProductTask()], loss=InfoNCE())
    module.retriever.text_head.weight.requires_grad_(False)
    checkpoint = {"state_dict": module.state_dict()}
    assert "retriever.text_head.weight" in checkpoint["state_dict"]
    module.on_save_checkpoint(checkpoint)
    kept = set(checkpoint["state_dict"])
    assert kept == {
        "retriever.image_head.weight", "loss.log_scale", "task_losses.product.log_scale",
        "memories.caption.columns", "memories.caption.codes", "memories.caption.added",
    }  # fmt: skip
    module.on_load_checkpoint(checkpoint)
    module.on_load_checkpoint({})  # sharded weights are elsewhere
    del checkpoint["state_dict"]["retriever.image_head.weight"]
    with pytest.raises(FashretError):
        module.on_load_checkpoint(checkpoint)
    assert module.strict_loading is False


def test_only_tasks_with_a_memory_have_one_of_the_size_of_the_embedding() -> None:
    module = made([CaptionTask(memory=7), ProductTask()])
    assert list(module.memories) == ["caption"]
    assert module.memories["caption"].columns.shape == (7, 4)
