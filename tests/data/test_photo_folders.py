"""What nested folders of photos say, and what below a root is no data."""

import os
from pathlib import Path

import pytest

from fashret.data.preparation import prepare
from fashret.errors import ConfigError
from support.sources import balanced, folder, photo, rows


def shop(root: Path, *, categories: int = 2, products: int = 6, photos: int = 2) -> Path:
    """`Apparel/<category>/SKU-<n>/SKU-<n>_<view>.jpg`."""
    for c in range(categories):
        for p in range(products):
            sku = f"SKU-{c}{p}"
            for v in range(photos):
                path = root / "Apparel" / f"Kind {c}" / sku / f"{sku}_{v}.jpg"
                photo(path, seed=100 * c + 10 * p + v)
    return root


def test_a_deepest_level_of_few_photos_is_the_product(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = rows(prepare(folder(shop(tmp_path / "shop")), tmp_path))
    one = found["Apparel/Kind 1/SKU-13/SKU-13_1.jpg"]
    assert one["category"] == "Kind 1"
    assert one["product_id"] == "Apparel/Kind 1/SKU-13"
    assert one["product_confidence"] == pytest.approx(0.9)
    assert {row["category"] for row in found.values()} == {"Kind 0", "Kind 1"}
    assert "folders such as Apparel/Kind 0/SKU-00 as one product each (12 folders" in caplog.text
    assert "as data.levels=[null,category,product_id] does" in caplog.text


def test_a_deepest_level_of_many_photos_is_the_category(tmp_path: Path) -> None:
    root = shop(tmp_path / "shop", products=1, photos=12)
    found = rows(prepare(folder(root), tmp_path))
    assert {row["category"] for row in found.values()} == {"SKU-00", "SKU-10"}


def test_a_few_folders_at_the_top_are_categories_and_many_numbered_ones_are_products(
    tmp_path: Path,
) -> None:
    for i in range(24):
        photo(tmp_path / "few" / ("coats", "tees")[i % 2] / f"{i}.jpg", seed=i)
        photo(tmp_path / "many" / f"item {i}" / "front.jpg", seed=i)
    assert rows(prepare(folder(tmp_path / "few"), tmp_path))["coats/0.jpg"]["category"] == "coats"
    one = rows(prepare(folder(tmp_path / "many"), tmp_path))["item 3/front.jpg"]
    assert (one["category"], one["product_id"]) == ("unknown", "item 3")


def test_a_deeper_folder_of_one_product_changes_nothing(tmp_path: Path) -> None:
    photo(shop(tmp_path / "shop") / "Apparel" / "Kind 1" / "SKU-13" / "detail" / "z.jpg", seed=99)
    found = rows(prepare(folder(tmp_path / "shop"), tmp_path))
    products = {row["product_id"] for row in found.values() if "SKU-13" in row["item_id"]}
    assert products == {"Apparel/Kind 1/SKU-13"}
    assert {row["category"] for row in found.values()} == {"Kind 0", "Kind 1"}


def test_levels_count_below_the_folders_of_splits(tmp_path: Path) -> None:
    for place, split in enumerate(("train", "val", "test")):
        for i in range(6):
            photo(tmp_path / "photos" / split / "men" / "tees" / f"{i}.jpg", seed=10 * place + i)
    found = rows(prepare(folder(tmp_path / "photos", levels=["colour", "category"]), tmp_path))
    one = found["test/men/tees/3.jpg"]
    assert (one["split"], one["colour"], one["category"]) == ("test", "men", "tees")
    with pytest.raises(ConfigError, match="names a field twice"):
        folder(tmp_path / "photos", levels=["category", "category"])


def test_levels_say_what_folders_are(tmp_path: Path) -> None:
    root = shop(tmp_path / "shop")
    source = folder(root, levels=[None, "category", "product_id"])
    one = rows(prepare(source, tmp_path))["Apparel/Kind 1/SKU-13/SKU-13_1.jpg"]
    assert (one["category"], one["product_id"]) == ("Kind 1", "Apparel/Kind 1/SKU-13")
    assert one["product_confidence"] == 1.0
    source = folder(root, levels=["colour", "neckline", "category"])
    one = rows(prepare(source, tmp_path))["Apparel/Kind 1/SKU-13/SKU-13_1.jpg"]
    assert (one["colour"], one["neckline"], one["category"]) == ("Apparel", "Kind 1", "SKU-13")
    with pytest.raises(ConfigError, match=r"data.levels names fabric: .* category, colour"):
        folder(root, levels=["fabric"])


def test_hidden_files_and_what_systems_leave_are_no_photos(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for i in range(12):
        photo(root / "coats" / f"{i}.jpg", seed=i)
    for name in (".ipynb_checkpoints/0.jpg", "._0.jpg"):
        photo(root / "coats" / name, seed=50)
    for name in (".Trash-0/coats/0.jpg", "__MACOSX/coats/0.jpg"):
        photo(root / name, seed=51)
    (root / "coats" / "._1.jpg").write_bytes(b"what a Mac leaves beside a file")
    table = prepare(folder(root), tmp_path)
    assert balanced(table)["rows_in"] == 12
    assert {row["category"] for row in rows(table).values()} == {"coats"}


def test_pictures_of_ones_own_runs_are_no_data(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for i in range(12):
        photo(root / "coats" / f"{i}.jpg", seed=i)
    key = prepare(folder(root), tmp_path).key
    (root / "outputs" / "train" / "1" / ".hydra").mkdir(parents=True)
    photo(root / "outputs" / "train" / "1" / "report" / "photos.jpg", seed=60)
    assert prepare(folder(root), tmp_path).key == key


def test_a_link_within_the_root_hides_no_folder(tmp_path: Path) -> None:
    for i in range(12):
        photo(tmp_path / "photos" / ("tees", "coats")[i % 2] / f"{i}.jpg", seed=i)
    (tmp_path / "photos" / "a_sale").symlink_to(tmp_path / "photos" / "tees")
    found = rows(prepare(folder(tmp_path / "photos"), tmp_path))
    assert {row["category"] for row in found.values()} == {"tees", "coats"}


def test_a_name_of_odd_bytes_is_kept(tmp_path: Path) -> None:
    for i in range(12):
        photo(tmp_path / "photos" / f"{i}.jpg", seed=i)
    os.rename(tmp_path / "photos" / "0.jpg", os.fsencode(tmp_path / "photos") + b"/caf\xe9.jpg")
    assert r"caf\xe9.jpg" in rows(prepare(folder(tmp_path / "photos"), tmp_path))


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    for i in range(12):
        photo(tmp_path / "disk" / f"{i}.jpg", seed=i)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "coats").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "again").symlink_to(tmp_path / "disk")
    assert len(prepare(folder(tmp_path / "photos"), tmp_path)) == 12


# The key of a set: what is in its files, not when they were written or what else lies there


def test_the_key_is_of_the_named_files_contents(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    for i in range(12):
        photo(root / "img" / f"{i}.jpg", seed=i)
    (root / "items.csv").write_text("image\n" + "".join(f"img/{i}.jpg\n" for i in range(12)))
    key = prepare(folder(root, table="items.csv"), tmp_path).key

    photo(root / "not-named.jpg", seed=70)
    os.utime(root / "img" / "3.jpg", ns=(1, 1))  # written again as it was
    os.utime(root / "items.csv", ns=(1, 1))
    assert prepare(folder(root, table="items.csv"), tmp_path).key == key

    other = folder(root, table="items.csv")
    other.name = "elsewhere"  # a copy of a set may bear another name
    assert prepare(other, tmp_path).key == key

    moved = tmp_path / "moved"
    root.rename(moved)
    assert prepare(folder(moved, table="items.csv"), tmp_path).key == key

    photo(moved / "img" / "3.jpg", seed=71)
    assert prepare(folder(moved, table="items.csv"), tmp_path).key != key


def test_a_photo_of_an_unlisted_ending_that_a_table_names_is_part_of_the_key(
    tmp_path: Path,
) -> None:
    root = tmp_path / "shop"
    for i in range(12):
        photo(root / f"{i}.jpg", seed=i).rename(root / f"{i}.image")
    (root / "items.csv").write_text("image\n" + "".join(f"{i}.image\n" for i in range(12)))
    table = prepare(folder(root, table="items.csv"), tmp_path)
    assert len(table) == 12
    photo(tmp_path / "other.jpg", seed=80).rename(root / "3.image")
    assert prepare(folder(root, table="items.csv"), tmp_path).key != table.key


def test_a_photo_that_arrives_later_changes_the_key(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    for i in range(11):
        photo(root / f"{i}.jpg", seed=i)
    (root / "items.csv").write_text("image\n" + "".join(f"{i}.jpg\n" for i in range(12)))
    table = prepare(folder(root, table="items.csv"), tmp_path)
    assert table.report["dropped"] == {"missing photo": 1}
    photo(root / "11.jpg", seed=11)
    assert len(prepare(folder(root, table="items.csv"), tmp_path)) == 12
