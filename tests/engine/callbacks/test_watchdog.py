"""Runs that are lost or collapse."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from fashret.engine.callbacks import watchdog
from fashret.engine.callbacks.retrieval import RetrievalEvaluation
from fashret.engine.callbacks.watchdog import Watchdog
from fashret.errors import TrainingError
from fashret.functional.collapse import EmbeddingSpread
from fashret.losses import InfoNCE
from fashret.types import Relations
from support.commands import Run


@pytest.mark.parametrize(
    ("every", "unjudged", "message"),
    [
        (1, (), "the loss is nan at step 5"),
        (10, (), "embeddings contain NaN or Inf: 24 of 24 items"),
        (10, ("trainer.check_val_every_n_epoch=9",), "contains NaN or Inf at the end of the epoch"),
    ],
)
def test_a_run_that_is_lost_is_ended_with_the_last_good_weights(
    run: Run, monkeypatch: pytest.MonkeyPatch, every: int, unjudged: tuple[str, ...], message: str
) -> None:
    forward, calls = InfoNCE.forward, iter(range(100))

    def broken(self: InfoNCE, rows: Tensor, columns: Tensor, relations: Relations) -> Tensor:
        loss = forward(self, rows, columns, relations)
        return loss if next(calls) < 4 else loss * float("nan")  # 3 steps an epoch

    monkeypatch.setattr(InfoNCE, "forward", broken)
    options = ("trainer.max_epochs=4", f"trainer.log_every_n_steps={every}", *unjudged)
    with pytest.raises(TrainingError, match=rf"{message}.*last.ckpt\. Try a smaller optimizer.lr"):
        run("train", *options)
    held = torch.load(run.at("run") / "checkpoints" / "last.ckpt", weights_only=True)
    assert held["epoch"] == 0
    assert all(bool(value.isfinite().all()) for value in held["state_dict"].values())


def test_a_collapse_is_said_in_words(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = iter(
        [EmbeddingSpread(30.0, 0.2), EmbeddingSpread(25.0, 0.3), EmbeddingSpread(1.1, 0.99)]
    )
    monkeypatch.setattr(
        "fashret.engine.callbacks.watchdog.measure_spread", lambda embeddings: next(judged)
    )
    with pytest.raises(TrainingError, match=r"mean cosine similarity of photos 0.99 .*last.ckpt"):
        run("train", "trainer.max_epochs=3")
    held = torch.load(run.at("run") / "checkpoints" / "last.ckpt", weights_only=True)
    assert held["epoch"] == 0  # the epoch before


NOTHING: Any = None


def trainer_of(**given: Any) -> Any:
    plain: dict[str, Any] = {
        "checkpoint_callbacks": [], "callbacks": [], "loggers": [], "global_step": 10,
        "log_every_n_steps": 5,
    }  # fmt: skip
    return SimpleNamespace(**plain | given)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_is_read_every_few_steps(loss: float) -> None:
    lost = {"loss": torch.tensor(loss)}
    for step in (9, 11, 14):
        Watchdog().on_train_batch_end(trainer_of(global_step=step), NOTHING, lost, None, 0)
    for step in (10, 15):
        with pytest.raises(TrainingError, match=f"at step {step}. No epoch was finished"):
            Watchdog().on_train_batch_end(trainer_of(global_step=step), NOTHING, lost, None, 0)
    fine = {"loss": torch.tensor(3.0)}
    Watchdog().on_train_batch_end(trainer_of(), NOTHING, fine, None, 0)


def test_weights_that_learn_are_read_at_the_end_of_an_epoch() -> None:
    module: Any = torch.nn.Linear(2, 2)
    Watchdog().on_train_epoch_end(trainer_of(), module)
    module.bias.data[1] = float("inf")
    module.bias.requires_grad_(False)
    Watchdog().on_train_epoch_end(trainer_of(), module)  # it does not learn
    module.bias.requires_grad_(True)
    with pytest.raises(TrainingError, match="bias contains NaN or Inf at the end of the epoch"):
        Watchdog().on_train_epoch_end(trainer_of(), module)


@pytest.mark.parametrize(("items", "kept"), [(5, 5), (2001, 2001), (4000, 2000), (6500, 2167)])
def test_the_baseline_is_measured_on_about_two_thousand_items(
    items: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Tensor] = []
    monkeypatch.setattr(watchdog, "measure_spread", measured.append)
    image = torch.arange(items, dtype=torch.float16)[:, None]
    catalog = type("Catalog", (), {"image": image, "__len__": lambda self: items})()
    trainer = trainer_of(datamodule=SimpleNamespace(baseline=catalog))
    Watchdog().on_fit_start(trainer, NOTHING)
    assert measured[0].shape == (kept, 1)
    assert measured[0].dtype == torch.float32


def judged(monkeypatch: pytest.MonkeyPatch, *spreads: EmbeddingSpread) -> list[dict[str, float]]:
    """What is logged of evaluations with these spreads, the first that of the baseline."""
    found = iter(spreads)
    monkeypatch.setattr(watchdog, "measure_spread", lambda embeddings: next(found))
    logged: list[dict[str, float]] = []
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.append(values | {"at": step}))
    evaluation = RetrievalEvaluation()
    catalog = type("Catalog", (), {"image": torch.eye(2), "__len__": lambda self: 2})()
    trainer = trainer_of(
        callbacks=[evaluation], loggers=[logger], datamodule=SimpleNamespace(baseline=catalog)
    )
    dog = Watchdog()
    dog.on_validation_end(trainer, NOTHING)  # nothing was evaluated yet
    dog.on_fit_start(trainer, NOTHING)
    evaluation.sample = torch.eye(2)
    for _ in spreads[1:]:
        dog.on_validation_end(trainer, NOTHING)
    return logged


FINE, LOST = EmbeddingSpread(30.0, 0.2), EmbeddingSpread(1.1, 0.99)


def test_each_evaluation_logs_its_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    logged = judged(monkeypatch, FINE, EmbeddingSpread(20.0, 0.3), FINE)
    assert logged == [
        {"val/image/effective_rank": 20.0, "val/image/mean_similarity": 0.3, "at": 10},
        {"val/image/effective_rank": 30.0, "val/image/mean_similarity": 0.2, "at": 10},
    ]


def test_only_a_collapse_since_the_evaluation_before_ends_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(judged(monkeypatch, LOST, LOST, FINE)) == 2  # it was so before training
    for before in ((FINE,), (LOST, FINE), (FINE, FINE)):
        with pytest.raises(TrainingError, match=r"0\.99 \(was 0\.20\), .* 1\.1 \(was 30"):
            judged(monkeypatch, *before, LOST)
