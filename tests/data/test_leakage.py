"""A run is not judged on items that it was trained on, and goes on over its own data alone."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fashret.catalog.folder import open_catalog
from fashret.data.leakage import TrainingRecord, write_training_record
from fashret.errors import CheckpointError, ConfigError
from support.commands import Run

Shop = Callable[..., list[str]]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Write a folder of 24 photos of 12 products, and give what a command needs to read it."""

    def write(
        name: str = "shop", *, products: str = "p", items: str = "i", tint: int = 0, more: int = 0
    ) -> list[str]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        table = "image,item_id,text,product_id,category\n"
        for n in range(24 + more):
            Image.new("RGB", (8, 8), (10 * n, 255 - 9 * n, tint)).save(folder / f"{n}.png")
            table += f"{n}.png,{items}{n},a shirt {n},{products}{n // 2},shirts\n"
        (folder / "items.csv").write_text(table)
        return [
            "data=folder", f"data.root={folder}", "data.table=items.csv", "data.num_workers=0",
            "data.splits={train: 0.5, validation: 0.25, test: 0.25}", "retrieval.resamples=20",
        ]  # fmt: skip

    return write


ONE_EPOCH = ("trainer.max_epochs=1", "data.batch_size=4", "callbacks.watchdog=null")


def split_of(run: Run, data: list[str], name: str) -> dict[str, str]:
    """The split of each photo, told by its text, as a catalog's table has it."""
    out = run.at(name)
    given = [option for option in data if not option.startswith("retrieval")]
    run("build_catalog", *given, f"catalog.dir={out}", folder=f"{name}-build", small=False)
    meta = open_catalog(out).meta()
    return dict(zip(meta["text"], meta["split"], strict=True))


@pytest.mark.parametrize(
    "change",
    [{"seed": 3}, {"products": "renamed"}, {"products": "renamed", "items": "other"}],
    ids=["split_seed", "product_ids", "item_ids"],
)
def test_judging_what_a_run_was_trained_on_is_refused_with_the_number(
    run: Run, shop: Shop, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    own = shop()
    folder = run("train", *own, *ONE_EPOCH, small=False)
    before = split_of(run, own, "own")
    seed = [f"data.split_seed={change.pop('seed')}"] if "seed" in change else []
    other = [*shop(**change), *seed]
    after = split_of(run, other, "other")
    test = [text for text, split in after.items() if split == "test"]
    seen = sum(before[text] == "train" for text in test)
    assert 0 < seen < len(test)
    judged = (f"run={folder}", *seed)
    message = rf"was trained on {seen} of the {len(test)} items of the test split \(.*allow_trained"
    with pytest.raises(ConfigError, match=message):
        run("evaluate", *judged, folder="judged", small=False)
    with pytest.raises(ConfigError, match=message):
        run("evaluate", *other, "split=test", f"baseline={folder}", folder="judged", small=False)
    with pytest.raises(ConfigError, match=message):
        run("evaluate", *judged, "protocol=paired", folder="judged", small=False)
    assert not (run.at("judged") / "metrics.json").exists()
    with caplog.at_level(logging.WARNING):
        run("evaluate", *judged, "allow_trained_items=true", folder="judged", small=False)
    assert f"was trained on {seen} of the {len(test)} items of the test split" in caplog.text
    assert (run.at("judged") / "metrics.json").exists()


def test_a_run_is_judged_on_its_own_data_and_on_its_training_items_with_a_warning(
    run: Run, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    own = shop()
    folder = run("train", *own, *ONE_EPOCH, small=False)
    training = sum(split == "train" for split in split_of(run, own, "own").values())
    caplog.clear()
    run("evaluate", f"run={folder}", folder="judged", small=False)
    assert "was trained on" not in caplog.text
    run("evaluate", f"run={folder}", "split=train", folder="judged", small=False)
    said = f"was trained on {training} of the {training} items of the train split"
    assert f"{said} (" in caplog.text


def test_other_photos_under_the_same_ids_are_no_leakage(
    run: Run, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run("train", *shop(), *ONE_EPOCH, small=False)
    elsewhere = shop("elsewhere", tint=200)
    run("evaluate", f"run={folder}", *elsewhere, "data.split_seed=1", folder="j", small=False)
    assert "was trained on 0 of the" in caplog.text


def test_a_run_without_a_record_is_judged_on_other_data_with_a_warning(
    run: Run, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run("train", *shop(), *ONE_EPOCH, small=False)
    (folder / "training_items.parquet").unlink()
    run("evaluate", f"run={folder}", folder="judged", small=False)
    assert "cannot be checked" not in caplog.text
    run("evaluate", f"run={folder}", "data.split_seed=1", folder="judged", small=False)
    assert "trained on these items cannot be checked" in caplog.text


def test_a_run_is_not_resumed_over_changed_data(run: Run, shop: Shop) -> None:
    own = shop()
    folder = run("train", *own, *ONE_EPOCH, small=False)
    again = (*ONE_EPOCH[1:], f"resume={folder}")
    run("train", *own, *again, "trainer.max_epochs=2", small=False)
    assert len((folder / "train_log.jsonl").read_text().splitlines()) == 3  # epochs 0, 1 and 2
    shop(more=2)
    keys = r"trained on data shop-\w+, its data are now shop-\w+, with other items"
    with pytest.raises(CheckpointError, match=keys):
        run("train", *own, *again, "trainer.max_epochs=3", small=False)
    assert len((folder / "train_log.jsonl").read_text().splitlines()) == 3


def test_a_record_says_which_rows_were_trained_on(tmp_path: Path) -> None:
    def table(key: str, ids: str, hashes: str | None) -> Any:
        return SimpleNamespace(
            key=key, column=lambda name: list(ids), photo_hashes=hashes and list(hashes)
        )

    rows = np.arange(1, 5)
    write_training_record(tmp_path, table("set-1", "abcde", "vwxyz"), np.array([0, 2, 3]))  # a c d
    record = TrainingRecord.read(tmp_path)
    assert record is not None

    def found(key: str, ids: str, hashes: str | None) -> list[int] | None:
        overlap = record.overlap(table(key, ids, hashes), rows)
        return None if overlap is None else overlap.tolist()

    assert found("set-1", "abcde", "vvvvv") == [2, 3]  # its own table: photos may occur twice
    assert found("set-2", "stuac", "vwxyz") == [2, 3]  # by photo
    assert found("other-1", "abcde", "zzzzv") == [4]
    assert found("set-2", "edcba", None) == [1, 2, 4]  # by id: d, c and a
    assert found("other-1", "abcde", None) is None
    assert TrainingRecord.read(tmp_path / "nowhere") is None
