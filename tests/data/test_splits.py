"""Splits: what a set states is kept, the rest is cut by product; what is unclear is refused."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import pytest

from fashret.data.preparation import prepare
from fashret.data.sources import Hub
from fashret.data.splits import (
    SPLITS,
    assign_splits,
    group_hashes,
    looks_like_split,
    split_named,
    split_of,
)
from fashret.errors import DataError
from support.sources import COMMON, folder, photo, rows


def split_of_each(groups: Iterable[str], seed: int = 0) -> dict[str, str]:
    names = list(groups)
    numbers = assign_splits(group_hashes(names, seed), COMMON["splits"])
    return {name: SPLITS[number] for name, number in zip(names, numbers, strict=True)}


def test_no_product_stands_on_both_sides_of_a_split() -> None:
    groups = [f"p{i // 3}" for i in range(9000)]
    chosen = split_of_each(set(groups))
    counts = [sum(chosen[g] == split for g in groups) for split in SPLITS]
    assert counts == pytest.approx([5400, 1800, 1800], abs=240)  # three standard deviations
    assert chosen != split_of_each(set(groups), seed=1)
    assert all(split_of(g, COMMON["splits"], 0) == split for g, split in chosen.items())


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_a_small_set_has_every_split(count: int) -> None:
    for seed in range(20):
        chosen = split_of_each(map(str, range(count)), seed=seed)
        assert set(chosen.values()) == {"train", "validation", "test"}


def test_a_group_stays_where_it_is_when_a_set_grows() -> None:
    before, after = split_of_each(map(str, range(1000))), split_of_each(map(str, range(2000)))
    assert all(before[name] == after[name] for name in before)


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
    with pytest.raises(DataError, match=r"(look like|are) splits, but .*data.stated_splits=false"):
        prepare(folder(tmp_path / "photos"), tmp_path)
    found = rows(prepare(folder(tmp_path / "photos", stated_splits=False), tmp_path))
    assert {row["category"] for row in found.values()} == set(tops)


def test_hub_splits_that_are_unclear_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"train, test are splits, but it is not clear what extra is\..*split_names"
    ):
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
    understood = ["train", "Testing", "dev", "eval", "val_set", "test images", "images-train"]
    splits = ["train", "test", "validation", "validation", "validation", "test", "train"]
    assert [split_named(name) for name in understood] == [(split, None) for split in splits]
    assert split_named("Query") == ("test", "query")
    like = ["test2", "train_b", "hold-out", "fashion_train", "my test"]
    assert [split_named(name) for name in like] == [None] * 5
    assert all(looks_like_split(name) for name in [*understood, *like])
    # Shoes are trainers or for training, and Valentino is a brand.
    garments = ("trainers", "Training Shoes", "Valentino", "tees", "testino", "trains")
    assert not any(looks_like_split(name) for name in garments)


def test_what_unclear_names_mean_can_be_said(tmp_path: Path) -> None:
    names = {"extra": "train", "unsupervised": None}
    sizes = {"train": 6, "test": 6, "extra": 6, "unsupervised": 4}
    table = prepare(hub(tmp_path / "hub", sizes, split_names=names), tmp_path)
    assert {s: len(table.rows(s)) for s in table.splits}["test"] == 6
    assert table.report["dropped"] == {"split left out by data.split_names": 4}
    for place, top in enumerate(sizes):
        for i in range(6):
            photo(tmp_path / "photos" / top / f"{i}.jpg", seed=10 * place + i)
    table = prepare(folder(tmp_path / "photos", split_names=names), tmp_path)
    assert len(table) == 18
    with pytest.raises(DataError, match=r"data.split_names.extra=more: use train, validation"):
        prepare(folder(tmp_path / "photos", split_names={"extra": "more"}), tmp_path)


@pytest.mark.parametrize("layout", ["fashion/{}/tees", "images_{}", "shop/2026/{}"])
def test_splits_below_shared_folders_and_with_prefixes_are_kept(
    tmp_path: Path, layout: str
) -> None:
    for place, name in enumerate(("train", "val", "test")):
        for i in range(6):
            photo(tmp_path / "photos" / layout.format(name) / f"{i}.jpg", seed=10 * place + i)
    table = prepare(folder(tmp_path / "photos"), tmp_path)
    assert [len(table.rows(split)) for split in ("train", "validation", "test")] == [6, 6, 6]
    assert {row["category"] for row in rows(table).values()} <= {"tees", "unknown"}


def test_splits_within_categories_are_refused_and_levels_say_it(tmp_path: Path) -> None:
    for place, name in enumerate(("train", "val", "test")):
        for c in ("tees", "coats"):
            for i in range(6):
                photo(tmp_path / "photos" / c / name / f"{i}{c}.jpg", seed=100 * place + i)
    with pytest.raises(DataError, match=r"not at the top.*data.levels=\[null,split\]"):
        prepare(folder(tmp_path / "photos"), tmp_path)
    table = prepare(folder(tmp_path / "photos", levels=["category", "split"]), tmp_path)
    assert [len(table.rows(split)) for split in ("train", "validation", "test")] == [12, 12, 12]
    with pytest.raises(DataError, match=r"data.levels says that folder \w+ is a split"):
        prepare(folder(tmp_path / "photos", levels=["split"]), tmp_path)


def test_queries_and_gallery_are_roles_in_folders_and_tables(tmp_path: Path) -> None:
    written = "image,split,role\n"
    for place, name in enumerate(("train", "Query", "gallery")):
        for i in range(6):
            photo(tmp_path / "photos" / name / f"{i}.jpg", seed=10 * place + i)
            written += f"{name}/{i}.jpg,{name},{'QUERY' if name == 'Query' else ''}\n"
    (tmp_path / "photos" / "items.csv").write_text(written)
    for table in (None, "items.csv"):
        prepared = prepare(folder(tmp_path / "photos", table=table), tmp_path)
        found = [(row["split"], row["role"]) for row in rows(prepared).values()]
        assert found.count(("test", "query")) == found.count(("test", "gallery")) == 6
        assert {role for split, role in found if split != "test"} == {None}
    source = folder(tmp_path / "photos", table="items.csv", stated_splits=False)
    anew = prepare(source, tmp_path)
    assert "role" not in anew.dataset.column_names
    assert len(anew.splits) == 3
    (tmp_path / "photos" / "items.csv").write_text(written.replace("QUERY", "asker"))
    with pytest.raises(DataError, match=r"role 'asker' is none of query, gallery"):
        prepare(folder(tmp_path / "photos", table="items.csv"), tmp_path)


def test_blanks_among_splits_and_sorted_splits_are_seen(tmp_path: Path) -> None:
    for i in range(12):
        photo(tmp_path / "shop" / f"{i}.jpg", seed=i)
    for values in (["train"] * 9 + ["test"] * 3, ["train", "N/A", ""] * 4):
        written = "".join(f"{i}.jpg,{value}\n" for i, value in enumerate(values))
        (tmp_path / "shop" / "items.csv").write_text(f"image,subset\n{written}")
        with pytest.raises(DataError, match=r"column subset looks like a split"):
            prepare(folder(tmp_path / "shop", table="items.csv"), tmp_path)


def test_ids_that_begin_anew_in_each_split_lose_no_item(tmp_path: Path) -> None:
    parts = {}
    for place, (name, size) in enumerate({"train": 12, "test": 6}.items()):
        files = [
            str(photo(tmp_path / "raw" / name / f"{i}.png", 20 * place + i)) for i in range(size)
        ]
        parts[name] = datasets.Dataset.from_dict({"image": files, "item_id": list(range(size))})
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    table = prepare(Hub(name=str(tmp_path / "saved"), attributes=[], **COMMON), tmp_path)
    assert len(table) == 18
    assert rows(table)["test/3"]["split"] == "test"


def test_a_stated_split_that_is_lost_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(12):
        photo(tmp_path / "shop" / f"{i}.jpg", seed=i)
    written = "".join(f"{i}.jpg,train\n" for i in range(12)) + "gone.jpg,test\n"
    (tmp_path / "shop" / "items.csv").write_text(f"image,split\n{written}")
    prepare(folder(tmp_path / "shop", table="items.csv"), tmp_path)
    assert "every item of split test was dropped" in caplog.text
