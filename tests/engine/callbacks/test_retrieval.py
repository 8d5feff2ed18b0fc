"""The evaluation after each epoch: from the embeddings of the validation loop to logged metrics."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from fashret.engine.callbacks.retrieval import RetrievalEvaluation
from fashret.errors import ConfigError, TrainingError
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.blocks import Layout
from fashret.models.heads import Projection
from fashret.models.retriever import Retriever
from support.benchmarks import at
from support.plans import evaluation_of_photos, plan_of

ANGLES = (0.0, 10.0, 20.0, 35.0, 55.0, 80.0)
HIT = "test/image/product/hit@2"


def small_plan(split: str = "test") -> SplitSearch:
    plan = plan_of([0, 0, 1, 2, 2, 2], category=[0, 0, 1, 1, 2, 0])
    return replace(plan, split=split)


class Logger:
    def __init__(self) -> None:
        self.shown: list[tuple[dict[str, float], int]] = []

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.shown.append((values, step))


class Loop:
    """A validation loop with a callback, in place of Lightning's."""

    def __init__(self, plan: SplitSearch | None = None, **given: Any) -> None:
        self.callback, self.logger, self.logged = RetrievalEvaluation(), Logger(), list[Any]()
        data = SimpleNamespace(plan=plan or small_plan(), validation_inputs={})
        plain: dict[str, Any] = {
            "datamodule": data, "callbacks": [self.callback], "loggers": [self.logger],
            "world_size": 1, "global_rank": 0, "global_step": 7, "sanity_checking": False,
            "checkpoint_callbacks": [],
        }  # fmt: skip
        self.trainer: Any = SimpleNamespace(**plain | given)
        eye = Projection(torch.eye(2), None)
        self.module: Any = SimpleNamespace(
            retriever=Retriever(eye, eye),
            device=torch.device("cpu"),
            log_dict=lambda values, sync_dist: self.logged.append((values, sync_dist)),
        )

    def run(
        self, *parts: list[int], image: Tensor | None = None, text: Tensor | None = None
    ) -> RetrievalEvaluation:
        """Embed some rows in parts, in the order that is given."""
        photos = at(*ANGLES) if image is None else image
        texts = photos if text is None else text
        self.callback.setup(self.trainer, self.module, "fit")
        self.callback.on_validation_epoch_start(self.trainer, self.module)
        for number, rows in enumerate(parts):
            outputs = {
                "index": torch.tensor(rows), "image": photos[rows].double(),
                "text": texts[rows].double(),
            }  # fmt: skip
            self.callback.on_validation_batch_end(self.trainer, self.module, outputs, None, number)
        self.callback.on_validation_epoch_end(self.trainer, self.module)
        return self.callback


def test_an_epochs_metrics_are_those_of_its_embeddings() -> None:
    monitor = SimpleNamespace(monitor=HIT)
    loop = Loop()
    loop.trainer.callbacks += [monitor, SimpleNamespace(monitor="train/loss"), object()]
    found = loop.run([4, 0, 5], [1, 3, 2])
    expected = evaluation_of_photos(small_plan(), at(*ANGLES))
    assert found.evaluation is not None
    assert found.means == pytest.approx(expected.means(), nan_ok=True)
    for mode in ("image", "text", "fused"):
        assert torch.equal(found.evaluation.rankings[mode].rows, expected.rankings[mode].rows)
    assert found.sample is not None
    assert torch.equal(found.sample, at(*ANGLES))
    assert loop.logged == [({HIT: found.means[HIT]}, False)]
    ((shown, step),) = loop.logger.shown
    assert step == 7
    assert shown == {key: value for key, value in found.means.items() if value == value}
    assert len(shown) < len(found.means)  # some metric has no query
    # Another epoch, with other embeddings, has nothing of this one.
    again = loop.run([0, 1, 2, 3, 4, 5], image=at(80, 0, 60, 10, 20, 40))
    other = evaluation_of_photos(small_plan(), at(80, 0, 60, 10, 20, 40))
    assert again.means == pytest.approx(other.means(), nan_ok=True)


def test_a_check_before_training_logs_nothing() -> None:
    loop = Loop(sanity_checking=True)
    assert loop.run(list(range(6))).evaluation is not None
    assert loop.logged == []
    assert loop.logger.shown == []


def test_a_loop_that_was_cut_short_is_not_evaluated() -> None:
    loop = Loop()
    found = loop.run([0, 1, 2, 3, 5])
    assert found.evaluation is None
    assert found.means == {}
    assert loop.logger.shown == []


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
def test_embeddings_that_are_no_numbers_end_the_run(fault: float) -> None:
    image = at(*ANGLES)
    image[2, 1] = fault
    image[4] = fault
    with pytest.raises(TrainingError, match="NaN or Inf: 2 of 6 items of the split test"):
        Loop().run(list(range(6)), image=image)


@pytest.mark.parametrize(
    ("monitor", "fine"),
    [
        ("val/image/product/hit@2", True),
        ("val/image/category/precision@2[category1]", True),
        ("val/image/product/hit@5", False),
        ("val/image/colour/precision@2", False),
        ("train/anything", True),
        (None, True),
    ],
)
def test_a_monitored_metric_must_be_one_of_the_run(monitor: str | None, fine: bool) -> None:
    loop = Loop(small_plan("validation"))
    loop.trainer.callbacks.append(SimpleNamespace(monitor=monitor))
    if fine:
        loop.callback.setup(loop.trainer, loop.module, "fit")
        return
    with pytest.raises(ConfigError, match=f"monitors {monitor}, which is not a metric of this run"):
        loop.callback.setup(loop.trainer, loop.module, "fit")


def test_processes_exchange_what_each_has_embedded_and_rank_their_share() -> None:
    """Two processes: this one embeds the rows 0 to 3, the other 3 to 5; row 3 is embedded twice."""
    photos, texts = at(*ANGLES), at(70, 5, 42, 13, 90, 30)
    parts = iter([photos[3:], texts[3:], torch.ones(3)])
    asked: list[str] = []

    def reduce(part: Tensor, reduce_op: str) -> None:
        asked.append(reduce_op)
        part[3:] += next(parts)

    strategy = SimpleNamespace(reduce=reduce)
    loop = Loop(world_size=2, global_rank=1, strategy=strategy)
    found = loop.run([0, 1], [2, 3], text=texts)
    assert asked == ["sum"] * 3
    assert found.sample is not None
    torch.testing.assert_close(found.sample, photos)
    embedded = SplitEmbeddings(photos, texts, Layout.from_widths({"general": 2}))
    assert found.evaluation is not None
    for mode, (_, expected) in rank_split(small_plan(), embedded).items():
        rows = found.evaluation.rankings[mode].rows
        assert torch.equal(rows[1::2], expected.rows[1::2]), mode
        assert rows[::2].tolist() == [[-1, -1]] * 3  # the other process has ranked these
    assert loop.logged == [({}, True)]


def test_at_most_about_two_thousand_items_are_kept_for_the_watchdog() -> None:
    for count, kept in ((1999, 1999), (4000, 2000), (6100, 2034)):
        loop = Loop(plan_of(list(range(count)), k=1, category=[0] * count))
        image = at(*torch.linspace(0, 80, count).tolist())
        found = loop.run(list(range(count)), image=image)
        assert found.sample is not None
        assert len(found.sample) == kept
        assert torch.equal(found.sample[:2], image[:: max(1, count // 2000)][:2])
