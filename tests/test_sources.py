"""Every source on a small copy of its layout, with the quirks that break naive loaders."""

import hashlib
import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
from PIL import Image
from support.sources import COMMON, balanced, folder, photo, rows

from fashret.data import photo_checks as reading
from fashret.data.photos import decode_photo
from fashret.data.preparation import prepare
from fashret.data.source import Source
from fashret.data.sources import FashionProducts, Hub, Joined, Sample
from fashret.data.splits import assign_splits
from fashret.errors import DataError

# Fashion Product Images

HEADER = (
    "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,"
    "productDisplayName"
)
STYLES = [
    "1,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Turtle Check Men Navy Blue Shirt",
    "2,Women,Apparel,Dress,Dresses,Red,,2012,,Red  Dress ",  # empty season and usage
    "3,Men,Apparel,Topwear,Tshirts,NA,Summer,2012,NA,Black, Blue, Printed Tee",  # bare commas
    '4,Men,Footwear,Shoes,Casual Shoes,Black,Fall,2011,Casual,"The 9"" shoe"',
    "5,Men,Footwear,Shoes,Casual Shoes,Black,Fall,2011,Casual,Has no photo",
    "6,Men,Footwear,Shoes,Casual Shoes,Black,Fall,2011,Casual,Torn photo",
    "7,Women,Apparel,Topwear,Tops,Pink,Fall,2011,Casual,Same name",
    "8,Women,Apparel,Topwear,Tops,Pink,Fall,2011,Casual,same  NAME",  # equal title and photo
    "9,Women,Apparel,Topwear,Tops,Pink,Fall,2011,Casual,Same name",  # equal title, other photo
    "10,Men,Apparel",  # cut off
    "1,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Again",  # a second id 1
    *(f"{i},Men,Apparel,Topwear,Shirts,Blue,Fall,2011,Casual,Shirt {i}" for i in range(11, 21)),
]


@pytest.fixture
def products(tmp_path: Path) -> FashionProducts:
    root = tmp_path / "fashion-products"
    for i in [*range(1, 5), *range(6, 10), *range(11, 21)]:
        photo(root / "images" / f"{i}.jpg", seed=7 if i == 8 else i)
    torn = root / "images" / "6.jpg"
    torn.write_bytes(torn.read_bytes()[:200])
    (root / "styles.csv").write_text("\n".join([HEADER, *STYLES]) + "\n")
    attributes = ["colour", "gender", "usage", "season", "sub_category"]
    return FashionProducts(name="fp", attributes=attributes, root=str(root), **COMMON)


def test_fashion_products_quirks(products: FashionProducts, tmp_path: Path) -> None:
    table = prepare(products, tmp_path)
    found = rows(table)
    report = balanced(table)
    assert report["rows_in"] == len(STYLES)
    assert report["dropped"] == {
        "missing photo": 1,
        "corrupt photo": 1,
        "too few fields": 1,
        "duplicate item_id": 1,
    }
    assert report["repaired"]["unquoted commas in productDisplayName"] == 1
    assert found["3"]["text"] == "Black, Blue, Printed Tee"
    assert found["4"]["text"] == 'The 9" shoe'
    assert found["3"]["colour"] == found["3"]["usage"] == "NA"  # a value, not a missing number
    assert found["2"]["season"] == found["2"]["usage"] == "unknown"
    assert found["2"]["text"] == "Red Dress"
    assert found["1"]["category"] == "Shirts"


def test_equal_title_and_photo_are_one_product(products: FashionProducts, tmp_path: Path) -> None:
    found = rows(prepare(products, tmp_path))
    assert found["7"]["product_id"] == found["8"]["product_id"] != found["9"]["product_id"]
    assert found["7"]["split"] == found["8"]["split"] == found["9"]["split"]


def test_another_header_is_named(products: FashionProducts, tmp_path: Path) -> None:
    (Path(products.root) / "styles.csv").write_text("id,name\n1,x\n")
    with pytest.raises(DataError, match=r"styles.csv has the columns id, name; expected are id"):
        prepare(products, tmp_path)


def test_a_folder_that_is_another_is_named(tmp_path: Path) -> None:
    source = FashionProducts(name="fp", attributes=[], root=str(tmp_path), **COMMON)
    with pytest.raises(DataError, match=r"holds no styles.csv"):
        prepare(source, tmp_path)


# Folder


def test_class_sub_folders_are_categories(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for category in ("dresses", "shirts"):
        for i in range(6):
            photo(root / category / f"{i}.png", seed=i)
    table = prepare(folder(root), tmp_path)
    found = rows(table)
    assert found["dresses/0.png"]["category"] == "dresses"
    assert set(table.splits) == {"train", "validation", "test"}
    assert found["dresses/0.png"]["neckline"] == "unknown"
    assert found["dresses/0.png"]["product_id"] is None


def test_split_folders_are_splits(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for split in ("train", "val", "test"):
        photo(root / split / "skirts" / f"{split}.jpg")
    found = rows(prepare(folder(root), tmp_path))
    assert found["val/skirts/val.jpg"]["split"] == "validation"
    assert found["val/skirts/val.jpg"]["category"] == "skirts"


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_table_is_read_by_its_columns(tmp_path: Path, form: str) -> None:
    root = tmp_path / "shop"
    lines = [
        {
            "item_id": f"00{i}",
            "image": str(photo(root / "img" / f"{i}.jpg", seed=i).relative_to(root)),
            "text": f"A shirt, no. {i}",
            "category": "shirts",
            "product_id": f"p{i // 2}",
            "neckline": "v_neck" if i % 2 else "",
            "shade": "red",
        }
        for i in range(12)
    ]
    lines.append(lines[0] | {"item_id": "x1", "image": "img/none.jpg"})
    lines.append(lines[0] | {"item_id": "x2", "image": "../../etc/passwd"})
    lines.append(lines[0] | {"item_id": "x3", "image": ""})
    frame = pd.DataFrame(lines)
    if form == "csv":
        frame.to_csv(root / "items.csv", index=False)
    elif form == "jsonl":
        frame.to_json(root / "items.jsonl", orient="records", lines=True)
    else:
        frame.to_parquet(root / "items.parquet")
    table = prepare(folder(root, table=f"items.{form}", columns={"colour": "shade"}), tmp_path)
    found = rows(table)
    assert found["001"]["neckline"] == "v_neck"
    assert found["000"]["neckline"] == "unknown"
    assert found["003"]["colour"] == "red"
    assert found["000"]["split"] == found["001"]["split"]  # one product
    assert balanced(table)["dropped"] == {
        "missing photo": 1,
        "image outside data.root": 1,
        "no image named": 1,
    }


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    photo(root / "1.jpg")
    (root / "items.csv").write_text("sku,picture\n1,1.jpg\n")
    with pytest.raises(
        DataError, match=r"no column image, but sku, picture: .*data.columns.image=picture"
    ):
        prepare(folder(root, table="items.csv"), tmp_path)
    with pytest.raises(DataError, match=r"data.columns.image=pic: .* has no such column"):
        prepare(folder(root, table="items.csv", columns={"image": "pic"}), tmp_path)
    with pytest.raises(DataError, match=r"data.columns.sku: there is no such field"):
        prepare(folder(root, table="items.csv", columns={"sku": "sku"}), tmp_path)
    with pytest.raises(DataError, match=r"data.table=gone.csv"):
        prepare(folder(root, table="gone.csv"), tmp_path)


def test_a_set_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no photo"):
        prepare(folder(empty), tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        prepare(folder(tmp_path / "none"), tmp_path)
    (empty / "1.jpg").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"no item .* can be used: .* corrupt photo"):
        prepare(folder(empty), tmp_path)
    photo(empty / "1.jpg")
    with pytest.raises(DataError, match="has no item in split"):
        prepare(folder(empty), tmp_path)
    assert not list((tmp_path / "data").glob("*[!k]/report.json"))  # nothing half made


# Hub


def test_a_saved_hub_set_with_its_own_splits(tmp_path: Path) -> None:
    def part(start: int, count: int) -> datasets.Dataset:
        files = [str(photo(tmp_path / "raw" / f"{i}.png", i)) for i in range(start, start + count)]
        columns = {"image": files, "caption": [f"text {i}" for i in range(start, start + count)]}
        return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())

    saved = tmp_path / "saved"
    datasets.DatasetDict({"train": part(0, 10), "test": part(10, 4)}).save_to_disk(str(saved))
    source = Hub(name=str(saved), attributes=[], columns={"text": "caption"}, **COMMON)
    table = prepare(source, tmp_path)
    found = rows(table)
    assert found["test-0"]["split"] == "test"
    assert found["train-3"]["text"] == "text 3"
    assert sorted(table.splits) == ["test", "train", "validation"]
    assert any("no validation split" in note for note in table.report["notes"])


def test_a_hub_set_that_is_not_there_names_the_way_out(tmp_path: Path) -> None:
    source = Hub(name=str(tmp_path / "nowhere"), attributes=[], columns={}, **COMMON)
    with pytest.raises(DataError, match="save_to_disk"):
        prepare(source, tmp_path)


# What all share


def sample(**changes: Any) -> Source:
    options: dict[str, Any] = {"name": "s", "products": 48, "views": 2, **COMMON} | changes
    return Sample(attributes=["neckline"], **options)


def test_a_table_is_prepared_once_and_again_when_its_source_changes(tmp_path: Path) -> None:
    first = prepare(sample(), tmp_path)
    stamp = (first.folder / "report.json").stat().st_mtime_ns
    assert (prepare(sample(), tmp_path).folder / "report.json").stat().st_mtime_ns == stamp
    assert prepare(sample(seed=1), tmp_path).key != first.key
    root = tmp_path / "photos"
    for i in range(10):
        photo(root / "a" / f"{i}.jpg", i)
    before = prepare(folder(root), tmp_path).key
    photo(root / "a" / "10.jpg")
    assert prepare(folder(root), tmp_path).key != before


def test_a_killed_preparation_decodes_nothing_twice(
    products: FashionProducts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def counted(encoded: bytes) -> Image.Image:
        decoded.append(hashlib.blake2b(encoded, digest_size=16).hexdigest())
        return decode_photo(encoded)

    monkeypatch.setattr(reading, "decode_photo", counted)
    monkeypatch.setattr(reading, "_PART", 4)
    described = FashionProducts.describe
    left = iter(range(9))

    def killed(self: Source, item: Any, report: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        described(self, item, report)

    monkeypatch.setattr(FashionProducts, "describe", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(products, tmp_path)
    journal = next(tmp_path.glob("data/*.partial/whole"))
    known = {line.split()[0] for line in journal.read_text().splitlines()}
    with journal.open("a") as file:
        file.write("torn0123 4567")  # the line that it was killed in
    assert len(known) >= 8
    assert known <= set(decoded)
    decoded.clear()
    monkeypatch.setattr(FashionProducts, "describe", described)
    table = prepare(products, tmp_path)
    assert decoded
    assert not known & set(decoded)
    assert not list(tmp_path.glob("data/*.partial"))
    assert not (table.folder / "whole").exists()
    uninterrupted = prepare(products, tmp_path / "elsewhere")
    assert table.photo_codes.tolist() == uninterrupted.photo_codes.tolist()
    balanced(table)


def test_no_product_stands_on_both_sides_of_a_split() -> None:
    groups = [f"p{i // 3}" for i in range(9000)]
    chosen = assign_splits(groups, COMMON["splits"], 0)
    counts = [sum(chosen[g] == split for g in groups) for split in ("train", "validation", "test")]
    assert counts == pytest.approx([5400, 1800, 1800], abs=240)  # three standard deviations
    assert chosen != assign_splits(groups, COMMON["splits"], 1)


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_a_small_set_has_every_split(count: int) -> None:
    for seed in range(20):
        chosen = assign_splits([str(i) for i in range(count)], COMMON["splits"], seed)
        assert set(chosen.values()) == {"train", "validation", "test"}


def test_a_group_stays_where_it_is_when_a_set_grows() -> None:
    before = assign_splits([str(i) for i in range(1000)], COMMON["splits"], 0)
    after = assign_splits([str(i) for i in range(2000)], COMMON["splits"], 0)
    assert all(before[name] == after[name] for name in before)


def test_a_joined_set_holds_out_what_its_parts_hold_out(tmp_path: Path) -> None:
    parts = {}
    for name in ("shoes", "bags"):
        for i in range(40):
            photo(tmp_path / name / "a" / f"{i}.jpg", i)
        parts[name] = folder(tmp_path / name)
    joined = prepare(Joined(name="both", parts=parts, attributes=[], **COMMON), tmp_path / "cache")
    place = dict(zip(joined.column("item_id"), joined.column("split"), strict=True))
    assert len(place) == 80
    for name, part in parts.items():
        alone = prepare(part, tmp_path / "cache")
        for item_id, split in zip(alone.column("item_id"), alone.column("split"), strict=True):
            assert place[f"{name}/{item_id}"] == split


def test_report_json_is_plain_json(tmp_path: Path) -> None:
    table = prepare(sample(), tmp_path)
    assert json.loads((table.folder / "report.json").read_text())["rows_in"] == 96
