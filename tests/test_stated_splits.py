"""The splits that a set states are kept, whatever it calls them; what is unclear is refused."""

from pathlib import Path
from typing import Any

import datasets
import pytest
from support.sources import COMMON, folder, photo, rows

from fashret.data.preparation import prepare
from fashret.data.sources import Hub
from fashret.data.splits import looks_like_split, split_named
from fashret.errors import DataError

TRIPLES = [
    ("train", "valid", "test"),
    ("train", "dev", "test"),
    ("Train", "Val", "Test"),
    ("training", "validation", "testing"),
    ("train", "eval", "test"),
    ("train_set", "val-images", "TEST"),
]


@pytest.mark.parametrize("names", TRIPLES, ids="/".join)
def test_the_splits_of_folders_are_kept(tmp_path: Path, names: tuple[str, ...]) -> None:
    for place, name in enumerate(names):
        for i in range(6):
            photo(tmp_path / "photos" / name / "coats" / f"{i}.jpg", seed=10 * place + i)
    found = rows(prepare(folder(tmp_path / "photos"), tmp_path))
    for name, split in zip(names, ("train", "validation", "test"), strict=True):
        held = [row for item, row in found.items() if item.startswith(f"{name}/")]
        assert [(row["split"], row["category"]) for row in held] == [(split, "coats")] * 6


@pytest.mark.parametrize("names", TRIPLES[:5], ids="/".join)
def test_the_splits_of_a_hub_set_are_kept(tmp_path: Path, names: tuple[str, ...]) -> None:
    table = prepare(hub(tmp_path, dict.fromkeys(names, 4)), tmp_path)
    found = rows(table)
    for name, split in zip(names, ("train", "validation", "test"), strict=True):
        assert [found[f"{name}-{i}"]["split"] for i in range(4)] == [split] * 4


def hub(tmp_path: Path, sizes: dict[str, int], **options: Any) -> Hub:
    parts, made = {}, 0
    for name, size in sizes.items():
        files = [str(photo(tmp_path / "raw" / f"{made + i}.png", made + i)) for i in range(size)]
        made += size
        columns: dict[str, Any] = {"image": files}
        for column in options.pop("extra", ()):
            columns[column] = [f"{'train' if i else 'test'}" for i in range(size)]
        parts[name] = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    return Hub(name=str(tmp_path / "saved"), attributes=[], **COMMON | options)


def test_a_stray_photo_beside_the_folders_of_splits_is_left_out_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for place, name in enumerate(("train", "val", "test")):
        for i in range(4):
            photo(tmp_path / "photos" / name / f"{i}.jpg", seed=10 * place + i)
    photo(tmp_path / "photos" / "cover.jpg", seed=99)
    table = prepare(folder(tmp_path / "photos"), tmp_path)
    assert {s: len(table.rows(s)) for s in table.splits} == {"train": 4, "validation": 4, "test": 4}
    assert table.report["dropped"] == {"photo beside the folders of splits": 1}
    assert table.report["examples"]["photo beside the folders of splits"] == ["cover.jpg"]
    assert "1 photos beside the folders test, train, val are in no split" in caplog.text


@pytest.mark.parametrize("tops", [("train", "test", "more"), ("train2", "b"), ("holdout", "tees")])
def test_folders_that_look_like_splits_and_are_unclear_are_refused(
    tmp_path: Path, tops: tuple[str, ...]
) -> None:
    for place, top in enumerate(tops):
        for i in range(6):
            photo(tmp_path / "photos" / top / f"{i}.jpg", seed=10 * place + i)
    with pytest.raises(DataError, match=r"look like splits.*data.stated_splits=false"):
        prepare(folder(tmp_path / "photos"), tmp_path)
    found = rows(prepare(folder(tmp_path / "photos", stated_splits=False), tmp_path))
    assert {row["category"] for row in found.values()} == set(tops)


def test_hub_splits_that_are_unclear_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not clear what extra is.*data.stated_splits=false"):
        prepare(hub(tmp_path, {"train": 6, "test": 6, "extra": 6}), tmp_path)
    source = hub(tmp_path, {"train": 8, "test": 8, "extra": 8}, stated_splits=False)
    table = prepare(source, tmp_path)
    assert table.splits == ("train", "validation", "test")
    assert {row["split"] for item, row in rows(table).items() if item.startswith("test-")} != {
        "test"
    }


def test_a_set_that_is_all_train_is_cut_and_one_that_is_all_test_is_not(tmp_path: Path) -> None:
    assert len(prepare(hub(tmp_path / "a", {"train": 20}), tmp_path).splits) == 3
    assert prepare(hub(tmp_path / "b", {"test": 20}), tmp_path).splits == ("test",)


def test_a_column_that_states_splits_by_another_name_is_refused(tmp_path: Path) -> None:
    for i in range(12):
        photo(tmp_path / "shop" / f"{i}.jpg", seed=i)
    written = "\n".join(f"{i}.jpg,{('train', 'dev', 'test')[i % 3]}" for i in range(12))
    (tmp_path / "shop" / "items.csv").write_text(f"image,subset\n{written}\n")
    with pytest.raises(
        DataError, match=r"column subset looks like a split.*data.columns.split=sub"
    ):
        prepare(folder(tmp_path / "shop", table="items.csv"), tmp_path)
    source = folder(tmp_path / "shop", table="items.csv", columns={"split": "subset"})
    found = rows(prepare(source, tmp_path))
    assert [found[f"{i}.jpg"]["split"] for i in range(3)] == ["train", "validation", "test"]
    with pytest.raises(DataError, match=r"column subset looks like a split"):
        prepare(hub(tmp_path, {"data": 12}, extra=("subset",)), tmp_path)


def test_what_reads_like_a_split() -> None:
    understood = ["train", "Testing", "dev", "eval", "val_set", "test images", "validation-data"]
    assert [split_named(name) for name in understood] == [
        *("train", "test", "validation", "validation", "validation", "test", "validation")
    ]
    assert all(looks_like_split(name) for name in [*understood, "test2", "train_b", "hold-out"])
    # Shoes are trainers, and Valentino is a brand.
    assert not any(looks_like_split(name) for name in ("trainers", "Valentino", "tees", "testino"))
