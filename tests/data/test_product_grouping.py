"""Products that nobody stated: by the names of photos, and by titles of photos that look alike."""

import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from fashret.config import build
from fashret.data.preparation import prepare
from fashret.data.product_grouping import Grouping
from fashret.data.sources import Hub
from fashret.errors import ConfigError
from support.commands import Run, composed
from support.products import grouped, plain
from support.sources import COMMON, photo, rows
from support.sources import folder as photo_folder


@pytest.fixture(scope="module")
def grouping() -> Grouping:
    made: Grouping = build(composed("train", [])["data"]["groups"])
    return made


def test_names_tell_products(grouping: Grouping) -> None:
    expected = {
        "m/WOMEN-Shirts-id_00005873-02_3_back.jpg": ("m/WOMEN-Shirts-id_00005873", 0.95),
        "img/id_00000080/01_1_front.jpg": ("img/id_00000080", 0.95),
        "img/id_00000080/01_7_additional.jpg": ("img/id_00000080", 0.95),
        "a/4711-front.jpg": ("a/4711", 0.9),
        "a/4711_back_2.jpg": ("a/4711", 0.9),
        "b/a/4711-front.jpg": ("b/a/4711", 0.9),  # another folder, another product
        "x/AB-12345.png": ("x/AB-12345", 0.8),
        "AB-12345_blue.png": ("AB-12345", 0.8),
        "1163_2.jpg": ("1163", 0.7),
        "c/red-dress-2.jpg": ("c/red-dress", 0.5),
        "IMG_1234.jpg": ("IMG_1234", 0.0),
        "b/IMG_20201010_12.jpg": ("b/IMG_20201010_12", 0.0),
        "a/front.jpg": ("a/front", 0.0),
        "1164.jpg": ("1164", 0.0),
    }
    assert {name: grouping.product_from_name(name) for name in expected} == expected


def test_a_product_is_as_sure_as_its_surest_photo(grouping: Grouping) -> None:
    names = ["a/4711.jpg", "a/4711-front.jpg", "a/4712.jpg", "b/4711.jpg"]
    products, confidences = zip(*map(grouping.product_from_name, names), strict=True)
    made = grouped([*products, "stated", None], [*confidences, 1.0, 1.0])
    found = list(zip(*plain(grouping.final_products(made)), strict=True))
    nothing = (None, 0.0)
    assert found == [("a/4711", 0.9), ("a/4711", 0.9), nothing, nothing, ("stated", 1.0), nothing]


def test_a_name_of_many_photos_is_no_product(grouping: Grouping) -> None:
    few = [grouping.product_from_name(f"photo_{i}.jpg") for i in range(grouping.largest)]

    def final(found: list[tuple[str, float]]) -> list[tuple[str | None, float]]:
        return list(
            zip(*plain(grouping.final_products(grouped(*zip(*found, strict=True)))), strict=True)
        )

    assert final(few) == few
    assert set(final([*few, grouping.product_from_name("photo_99.jpg")])) == {(None, 0.0)}
    assert set(final([("p", 1.0)] * 50)) == {("p", 1.0)}


def test_a_point_in_an_id_ends_no_product(grouping: Grouping) -> None:
    assert grouping.product_from_name("4711.10-front") == ("4711.10", 0.9)
    assert grouping.product_from_name("4711.abc-d") == ("4711.abc-d", 0.0)
    assert grouping.product_from_name("4711-front.JPEG") == ("4711", 0.9)


def test_the_ids_of_a_hub_set_group_photos(grouping: Grouping, tmp_path: Path) -> None:
    """120 products of two photos each, known by the items' ids alone: no product is cut in two."""
    ids = [f"MEN-Denim-id_{p:08}-01_{v}_view" for p in range(120) for v in (1, 2)]
    files = [str(photo(tmp_path / "raw" / f"{i}.png", i)) for i in range(240)]
    made = datasets.Dataset.from_dict({"image": files, "item_ID": ids})
    made.cast_column("image", datasets.Image()).save_to_disk(str(tmp_path / "saved"))
    options = COMMON | {"groups": grouping, "columns": {"item_id": "item_ID"}}
    source = Hub(name=str(tmp_path / "saved"), attributes=[], **options)
    found = rows(prepare(source, tmp_path))
    splits: dict[str, set[str]] = {}
    for row in found.values():
        splits.setdefault(row["product_id"], set()).add(row["split"])
    assert len(splits) == 120
    assert all(len(held) == 1 for held in splits.values())


def test_the_surer_of_path_and_id_tells_the_product(grouping: Grouping, tmp_path: Path) -> None:
    for i in range(12):
        photo(tmp_path / "shop" / f"{i // 2}_{i % 2}.jpg", seed=i)
    written = "".join(
        f"{i // 2}_{i % 2}.jpg,coat {i // 2}-{'front' if i % 2 else 'back'}\n" for i in range(12)
    )
    (tmp_path / "shop" / "items.csv").write_text(f"image,item_id\n{written}")
    source = photo_folder(tmp_path / "shop", table="items.csv", groups=grouping)
    found = rows(prepare(source, tmp_path))
    assert found["coat 3-back"]["product_id"] == found["coat 3-front"]["product_id"] == "coat 3"


def test_titles_join_photos_that_look_alike(grouping: Grouping) -> None:
    torch.manual_seed(0)
    look = normalize(torch.randn(5, 16), dim=1)
    near = normalize(look[0] + 0.02 * torch.randn(16), dim=0)
    assert float(near @ look[0]) > grouping.title_similarity
    images = torch.stack([look[0], near, look[1], look[0], look[2], look[2], look[3], look[3]])
    titles = ["Red Shirt", "red  shirt!", "Red Shirt", "Blue Shirt", "Bag", "Bag", "", ""]
    products = torch.tensor([-1, 7, -1, -1, 3, 5, -1, -1])
    found, joined = grouping.join_by_title(titles, images, products)
    assert joined.tolist() == [True, True, False, False, True, True, False, False]
    assert found[0] == found[1] == 7
    assert found[4] == found[5] == 3
    assert found[[2, 3, 6, 7]].tolist() == [-1] * 4

    kind = ["T-shirt"] * (grouping.largest + 1)  # a title that many share names no product
    unknown = torch.full((len(kind),), -1)
    found, joined = grouping.join_by_title(kind, look[:1].expand(len(kind), -1), unknown)
    assert not joined.any()
    assert grouping.join_by_title(kind[1:], look[:1].expand(12, -1), unknown[1:])[1].all()


def test_a_pattern_without_a_product_is_answered() -> None:
    rule = {"pattern": "(.*)_front", "confidence": 0.9}
    with pytest.raises(ConfigError, match=r"data\.groups\.names\.view\.pattern needs a group"):
        Grouping(min_confidence=0.6, names={"view": rule}, largest=12, title_similarity=0.9,
                 title_confidence=0.7)  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """40 products of two photos each, told by their names; twins with one title and photo."""
    root = tmp_path / "photos"
    root.mkdir()
    rows: list[dict[str, Any]] = []
    for product in range(40):
        colour = (6 * product, 255 - 6 * product, (product % 7) * 30)
        for view in ("front", "back"):
            name = f"{1000 + product}-{view}.png"
            image = Image.new("RGB", (24, 32), colour)
            if view == "back":  # another photo, no copy of the first
                image.paste("black", (0, 0, 24, 16))
            image.save(root / name)
            rows.append({"image": name, "category": "shirts", "text": f"shirt {product // 2}"})
    pd.DataFrame(rows).to_csv(root / "items.csv", index=False)
    return root


def folder(photos: Path, *more: str) -> list[str]:
    return [
        "data=folder", f"data.root={photos}", "data.table=items.csv", "data.num_workers=0",
        "data.attributes=[]", "data.batch_size=8", "targets=none", "trainer.max_epochs=1",
        "retrieval.resamples=100", "callbacks.watchdog=null", *more,
    ]  # fmt: skip


def test_names_decide_splits_and_relations(run: Run, photos: Path) -> None:
    out = run("train", *folder(photos, "data.groups.title_confidence=0"), small=False)
    groups = json.loads((out / "mining" / "groups.json").read_text())
    assert groups["products_by_size"] == {"2": 40}
    assert groups["leaving_training"] == []
    assert all(group["confidence"] == 0.9 for group in groups["groups"])
    found = pd.read_parquet(out / "per_query_results.parquet")
    image = found[(found["mode"] == "image") & (found["split"] == "test")]
    assert len(image) % 2 == 0
    assert image["hits_product"].map(sum).eq(1).all()  # its other view is searched too


def test_what_looks_like_a_product_of_another_split_is_not_trained_on(
    run: Run, photos: Path
) -> None:
    run.cache_dir = photos.parent / "cache"  # it holds this catalog alone
    # Every two products have one title: they are joined, whatever their splits.
    options = folder(photos, "data.groups.title_similarity=-1.0")
    out = run("train", *options, small=False)
    mining = out / "mining"
    groups = json.loads((mining / "groups.json").read_text())
    assert groups["products_by_size"] == {"4": 20}
    leaving = set(groups["leaving_training"])
    assert leaving
    meta = pd.read_parquet(next(run.cache_dir.glob("catalogs/*photos*/catalog_meta.parquet")))
    split = dict(zip(meta["item_id"], meta["split"], strict=True))
    for group in groups["groups"]:
        sides = {split[item] for item in group["items"]}
        for item in group["items"]:
            expected = split[item] == "train" and sides != {"train"}
            assert (item in leaving) == expected
    audit = pd.read_csv(mining / "groups_audit.csv")
    assert set(audit["item_id"]) <= set(split)
    assert (audit.groupby("group").size() == audit.groupby("group")["photos"].first()).all()
