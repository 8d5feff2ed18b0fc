"""DeepFashion In-shop, on a small copy of its layout with its quirks in it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from fashret.errors import DataError
from support.official_sets import Prepare, listed, write
from support.sources import balanced, photo, rows


@pytest.fixture
def inshop(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    shots = [
        ("WOMEN/Blouses_Shirts/id_00000001/02_1_front", "id_00000001", "train"),
        ("WOMEN/Blouses_Shirts/id_00000001/03_2_side", "id_00000001", "train"),
        ("WOMEN/Dresses/id_00000002/01_1_front", "id_00000002", "train"),
        ("MEN/Tees_Tanks/id_00000003/01_1_front", "id_00000003", "query"),
        ("MEN/Tees_Tanks/id_00000003/02_1_front", "id_00000003", "gallery"),
        ("WOMEN/Graphic_Tees/id_00000004/01_1_front", "id_00000004", "query"),
        ("WOMEN/Graphic_Tees/id_00000004/01_4_full", "id_00000004", "gallery"),
        ("WOMEN/Skirts/id_00000005/01_1_front", "id_00000005", "gallery"),
    ]
    lines = [f"img/{name}.jpg   {item}      {status}" for name, item, status in shots]
    listed(
        root / "Eval" / "list_eval_partition.txt", "image_name item_id evaluation_status",
        *lines, "img/short_row.jpg  id_00000006", count=52712,
    )  # fmt: skip
    for seed, (name, _, _) in enumerate(shots):
        photo(root / "img" / f"{name}.jpg", seed)
        photo(root / "img_highres" / f"{name}.jpg", seed + 50)
    grey = root / "img" / f"{shots[0][0]}.jpg"
    Image.open(grey).convert("L").save(grey)
    described = [
        {"item": "id_00000001", "color": "Navy", "description": ["A silk blouse.", "Wash cold."]},
        {"item": "id_00000003", "color": "Black", "description": "Plain cotton tee"},
        {"item": "id_00000005", "color": "Red", "description": None},
    ]
    write(root / "Anno" / "list_description_inshop.json", json.dumps(described))
    names = ["v-neck", "cotton", "floral print", "a-line", "print"]
    listed(root / "Anno" / "attributes" / "list_attr_cloth.txt", "attribute_name", *names)
    listed(
        root / "Anno" / "attributes" / "list_attr_items.txt", "item_id attribute_labels",
        "id_00000001  1 -1  1  0  1", "id_00000003 -1  1 -1 -1 -1", "id_00000009  1",
    )  # fmt: skip
    listed(
        root / "Anno" / "attributes" / "list_color_cloth.txt", "image_name color",
        f"img/{shots[1][0]}.jpg  Light Blue", f"img/{shots[4][0]}.jpg White",
    )  # fmt: skip
    return root


def test_inshop_quirks(inshop: Path, made: Prepare) -> None:
    table = made("deepfashion_inshop", "data.splits={train: 0.5, validation: 0.5, test: 0.0}")
    found, report = rows(table), balanced(table)
    assert report["rows_in"] == 9  # neither the count nor the header is a row
    assert report["dropped"] == {"too few fields": 1}
    front, side = (
        f"img/WOMEN/Blouses_Shirts/id_00000001/{n}.jpg" for n in ("02_1_front", "03_2_side")
    )
    assert found[front]["product_id"] == found[side]["product_id"] == "id_00000001"
    assert found[front]["text"] == "A silk blouse. Wash cold."
    assert found[front]["category"] == "Blouses_Shirts"
    assert found[front]["gender"] == "women"
    assert (found[front]["colour"], found[side]["colour"]) == ("navy", "blue")  # two variants
    assert found[front]["neckline"] == "v_neck"  # the official list
    assert found[front]["pattern"] == "floral"  # of floral and print the more telling one
    assert found[front]["material"] == "silk"  # unstated in the list: read from the text
    tee = found["img/WOMEN/Graphic_Tees/id_00000004/01_1_front.jpg"]
    assert (tee["category"], tee["pattern"]) == ("Tees", "graphic")
    assert found["img/WOMEN/Skirts/id_00000005/01_1_front.jpg"]["text"] == ""
    expected = (
        "9 rows of list_eval_partition.txt, expected 52,712: continuing with an incomplete copy"
    )
    assert expected in report["notes"]
    assert "3 train photos, expected 25,882: continuing with an incomplete copy" in report["notes"]
    assert report["repaired"]["row of list_attr_items.txt without all fields left out"] == 1


def test_inshop_queries_search_the_gallery_and_validation_has_no_roles(
    inshop: Path, made: Prepare
) -> None:
    table = made("deepfashion_inshop", "data.splits={train: 0.5, validation: 0.5, test: 0.0}")
    found = rows(table).values()
    roles = {(row["split"], row["role"]) for row in found}
    assert roles == {
        ("train", None), ("validation", None), ("test", "query"), ("test", "gallery"),
    }  # fmt: skip
    products = {s: {r["product_id"] for r in found if r["split"] == s} for s in table.splits}
    assert not products["train"] & products["validation"]


def test_inshop_highres_and_older_copies(inshop: Path, made: Prepare) -> None:
    small = made("deepfashion_inshop")
    for path in sorted((inshop / "Anno" / "attributes").iterdir()):
        path.rename(inshop / "Anno" / path.name)  # where older copies have it
    large = made("deepfashion_inshop", "data.highres=true")
    name = "img/WOMEN/Dresses/id_00000002/01_1_front.jpg"
    ours, theirs = (t.photo(t.column("item_id").index(name)) for t in (small, large))
    assert ours != theirs
    assert theirs == (inshop / name.replace("img", "img_highres", 1)).read_bytes()
    front = "img/WOMEN/Blouses_Shirts/id_00000001/02_1_front.jpg"
    assert rows(large)[front]["neckline"] == "v_neck"


def test_inshop_an_unknown_status_is_named(inshop: Path, made: Prepare) -> None:
    path = inshop / "Eval" / "list_eval_partition.txt"
    path.write_text(path.read_text().replace("query", "probe"))
    with pytest.raises(DataError, match=r"line 6: status 'probe' is none of train, query, gallery"):
        made("deepfashion_inshop")


def test_a_list_without_its_count_is_named(inshop: Path, made: Prepare) -> None:
    path = inshop / "Eval" / "list_eval_partition.txt"
    path.write_text(path.read_text().partition("\n")[2])
    with pytest.raises(DataError, match=r"line 1 is 'image_name .*': the number of rows"):
        made("deepfashion_inshop")
