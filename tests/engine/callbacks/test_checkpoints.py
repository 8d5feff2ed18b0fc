"""Checkpoints that are kept."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from fashret.engine.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from support.commands import Run, lines

pytestmark = pytest.mark.usefixtures("stand_ins")


def test_the_best_of_several_checkpoints_is_the_best_and_every_epoch_can_be_kept(run: Run) -> None:
    folder = run(
        "train",
        "callbacks=every_epoch",
        "callbacks.best_checkpoint.save_top_k=3",
        "callbacks.best_checkpoint.mode=min",  # the lowest, so that it is not the last
        "trainer.max_epochs=5",
        "ckpt=best",
    )
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    every = [f"epoch={epoch:03d}.ckpt" for epoch in range(5)]
    assert [name for name in kept if name.startswith("epoch=")] == every
    assert len([name for name in kept if name.startswith("best-epoch=")]) == 3
    reached = [line["val/text/pair/mrr@10"] for line in lines(folder)][1:]
    best = min(range(5), key=lambda epoch: reached[epoch])
    assert best < 4, "the last epoch must not be the best, or this shows nothing"
    states = [
        torch.load(folder / "checkpoints" / name, weights_only=True)
        for name in ("best.ckpt", f"epoch={best:03d}.ckpt")
    ]
    assert states[0]["epoch"] == states[1]["epoch"] == best
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name])
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert metrics["val/text/pair/mrr@10"]["value"] == pytest.approx(reached[best], abs=1e-9)


class Steps(pl.LightningModule):
    """Logs given values, one an epoch, with or without a validation."""

    def __init__(self, values: list[float], *, validates: bool) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.values = values
        self.validates = validates

    def training_step(self, batch: Any) -> Tensor:
        if not self.validates:
            self.log("x", self.values[self.current_epoch])
        return -self.weight.sum()

    def validation_step(self, batch: Any) -> None:
        if self.validates:
            self.log("x", self.values[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fitted(
    values: list[float], *callbacks: pl.Callback, validates: bool = True, epochs: int | None = None
) -> None:
    loader: Any = DataLoader(TensorDataset(torch.zeros(1, 1)))
    pl.Trainer(
        accelerator="cpu", max_epochs=epochs or len(values), callbacks=list(callbacks),
        logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0,
    ).fit(Steps(values, validates=validates), loader, loader if validates else None)  # fmt: skip


def epoch_of(path: Path) -> int:
    held: dict[str, int] = torch.load(path, weights_only=True)
    return held["epoch"]


@pytest.mark.parametrize("validates", [True, False])
def test_the_best_epoch_is_named_so_among_several_that_are_kept(
    tmp_path: Path, validates: bool
) -> None:
    folder = str(tmp_path)
    best = BestCheckpoint(folder, "x", save_top_k=2)
    fitted([0.1, 0.9, 0.5, 0.2], best, LastCheckpoint(folder), validates=validates)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best-epoch=001.ckpt", "best-epoch=002.ckpt", "best.ckpt", "last.ckpt",
    ]  # fmt: skip
    assert epoch_of(tmp_path / "best.ckpt") == 1
    assert epoch_of(tmp_path / "last.ckpt") == 3
    assert "optimizer_states" in torch.load(tmp_path / "best.ckpt", weights_only=True)


def test_one_best_checkpoint_has_no_other_name_and_is_overwritten_by_a_later_run(
    tmp_path: Path,
) -> None:
    for values, epoch in (([0.3, 0.2, 0.4], 1), ([0.3, 0.2, 0.1], 2)):
        callbacks = (
            BestCheckpoint(str(tmp_path), "x", mode="min", save_weights_only=True),
            LastCheckpoint(str(tmp_path)),
        )
        fitted(values, *callbacks)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]
        assert epoch_of(tmp_path / "best.ckpt") == epoch
    assert "optimizer_states" not in torch.load(tmp_path / "best.ckpt", weights_only=True)


def test_epochs_between_two_comparisons_are_not_saved(tmp_path: Path) -> None:
    given: dict[str, Any] = {"filename": "e={epoch}", "every_n_epochs": 2, "save_top_k": -1}
    fitted([0.9, 0.1, 0.8, 0.2], BestCheckpoint(str(tmp_path), "x", **given))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.ckpt", "e=1.ckpt", "e=3.ckpt",
    ]  # fmt: skip
    assert epoch_of(tmp_path / "best.ckpt") == 3


def test_a_validation_within_an_epoch_is_compared_as_well(tmp_path: Path) -> None:
    class Twice(Steps):
        """Logs a value at each validation: in the middle of an epoch, and at its end."""

        def validation_step(self, batch: Any) -> None:
            self.log("x", self.values[self.global_step - 1])

    callback = BestCheckpoint(str(tmp_path), "x")
    loader: Any = DataLoader(TensorDataset(torch.zeros(2, 1)))
    pl.Trainer(
        accelerator="cpu", max_epochs=2, callbacks=[callback], logger=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        val_check_interval=0.5, limit_val_batches=1,
    ).fit(Twice([0.1, 0.2, 0.9, 0.3], validates=True), loader, loader)  # fmt: skip
    assert callback.best_model_score is not None
    assert float(callback.best_model_score) == pytest.approx(0.9)
    held = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert held["global_step"] == 3  # one step after the middle of the run


@pytest.fixture
def naming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BestCheckpoint]:
    """Name a file the best of a run, without anything else that Lightning does."""
    monkeypatch.setattr(ModelCheckpoint, "on_validation_end", lambda *args: None)

    def name(best: str, *, zero: bool = True) -> BestCheckpoint:
        callback = BestCheckpoint(str(tmp_path), "x", save_top_k=2)
        callback.best_model_path = best and str(tmp_path / best)
        trainer: Any = SimpleNamespace(is_global_zero=zero)
        nothing: Any = None
        callback.on_validation_end(trainer, nothing)
        return callback

    return name


@pytest.mark.parametrize("links", [True, False])
def test_the_best_is_a_link_or_a_copy_where_files_cannot_be_linked(
    tmp_path: Path,
    naming: Callable[..., BestCheckpoint],
    links: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError("no hard links here")

    if not links:
        monkeypatch.setattr("fashret.engine.callbacks.checkpoints.os.link", refuse)
    for number in (1, 2):
        (tmp_path / f"e{number}.ckpt").write_text(f"epoch {number}")
        (tmp_path / "best.partial").write_text("of a run that was killed")
        naming(f"e{number}.ckpt")
        assert (tmp_path / "best.ckpt").read_text() == f"epoch {number}"
        assert (tmp_path / "e1.ckpt").read_text() == "epoch 1"
        assert not (tmp_path / "best.partial").exists()
    assert (tmp_path / "best.ckpt").samefile(tmp_path / "e2.ckpt") == links


def test_a_folder_of_sharded_weights_is_copied_over_the_one_before(
    tmp_path: Path, naming: Callable[..., BestCheckpoint]
) -> None:
    for number in (1, 2):
        (tmp_path / f"e{number}.ckpt").mkdir()
        (tmp_path / f"e{number}.ckpt" / f"part{number}").write_text(str(number))
        naming(f"e{number}.ckpt")
        assert [path.name for path in (tmp_path / "best.ckpt").iterdir()] == [f"part{number}"]
    assert (tmp_path / "e2.ckpt" / "part2").is_file()


def test_nothing_is_named_without_a_best_or_by_another_process(
    tmp_path: Path, naming: Callable[..., BestCheckpoint]
) -> None:
    (tmp_path / "e1.ckpt").write_text("1")
    naming("")
    naming("e1.ckpt", zero=False)
    assert [path.name for path in tmp_path.iterdir()] == ["e1.ckpt"]
    (tmp_path / "best.ckpt").write_text("itself")
    naming("best.ckpt")
    assert (tmp_path / "best.ckpt").read_text() == "itself"
