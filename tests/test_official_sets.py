"""Sets that the field uses, each on a small copy of its layout with its quirks in it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from conftest import composed
from PIL import Image
from support.sources import balanced, photo, rows

from fashret.config import build
from fashret.data.items import ItemTable
from fashret.data.preparation import prepare
from fashret.errors import DataError

Prepare = Callable[..., ItemTable]


@pytest.fixture
def made(tmp_path: Path) -> Prepare:
    """Prepare a set as a command would, from the folder `set` beside the cache."""

    def prepared(name: str, *overrides: str) -> ItemTable:
        root = f"data.root={tmp_path / 'set'}"
        cfg = composed("evaluate", [f"data={name}", root, "data.num_workers=0", *overrides])
        return prepare(build(cfg.data), tmp_path / "cache")

    return prepared


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def listed(path: Path, header: str, *lines: str, count: int | None = None) -> None:
    write(path, str(len(lines) if count is None else count), header, *lines)


OFFICIAL = [
    "deepfashion_attributes", "deepfashion_consumer2shop", "deepfashion_inshop",
    "deepfashion_multimodal", "fashion200k", "fashion_products", "fashioniq", "hm", "polyvore",
]  # fmt: skip


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_missing_root_says_where_the_set_is_to_be_had(name: str, tmp_path: Path) -> None:
    for root in ("null", str(tmp_path / "nowhere")):
        cfg = composed("evaluate", [f"data={name}", f"data.root={root}"])
        with pytest.raises(DataError, match=r"it should hold .*; to be had from http"):
            prepare(build(cfg.data), tmp_path)


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_empty_root_names_what_it_lacks(name: str, tmp_path: Path, made: Prepare) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=r"holds no .*: it should hold"):
        made(name)


# DeepFashion In-shop


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
    expected = "9 rows of list_eval_partition.txt, expected 52,712: continuing with what is there"
    assert expected in report["notes"]
    assert "3 train photos, expected 25,882: continuing with what is there" in report["notes"]
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


# DeepFashion Consumer-to-shop


def test_consumer2shop_quirks(tmp_path: Path, made: Prepare) -> None:
    root = tmp_path / "set"
    folder = "img/DRESSES/Chiffon_Dress"
    pairs = [
        (f"{folder}/id_1/comsumer_01.jpg", f"{folder}/id_1/shop_01.jpg", "id_1", "train"),
        (f"{folder}/id_1/comsumer_02.jpg", f"{folder}/id_1/shop_01.jpg", "id_1", "train"),
        (f"{folder}/id_2/comsumer_01.jpg", f"{folder}/id_2/shop_01.jpg", "id_2", "val"),
        (f"{folder}/id_3/comsumer_01.jpg", f"{folder}/id_3/shop_01.jpg", "id_3", "test"),
        (f"{folder}/id_3/comsumer_01.jpg", f"{folder}/id_3/shop_02.jpg", "id_3", "test"),
        (f"{folder}/id_4/comsumer_01.jpg", f"{folder}/id_4/shop_gone.jpg", "id_4", "test"),
    ]
    header = "image_pair_name_1 image_pair_name_2 item_id evaluation_status"
    listed(root / "Eval" / "list_eval_partition.txt", header, *("   ".join(p) for p in pairs))
    for seed, name in enumerate(sorted({name for pair in pairs for name in pair[:2]})):
        if "gone" not in name:
            photo(root / name, seed)
    listed(root / "Anno" / "list_attr_cloth.txt", "attribute_name attribute_type", "chiffon  2",
           "crew neck   4")  # fmt: skip
    listed(root / "Anno" / "list_attr_items.txt", "item_id labels", "id_1 1 1", "id_2 -1 0")
    table = made("deepfashion_consumer2shop")
    found, report = rows(table), balanced(table)
    assert report["rows_in"] == 12
    assert report["dropped"] == {"photo of an earlier pair": 2, "missing photo": 1}
    shop = found[f"{folder}/id_1/shop_01.jpg"]  # in two pairs, in the gallery once
    assert (shop["role"], shop["product_id"], shop["split"]) == ("gallery", "id_1", "train")
    assert (shop["category"], shop["material"], shop["neckline"]) == (
        "Chiffon_Dress", "chiffon", "crew",
    )  # fmt: skip
    assert found[f"{folder}/id_2/comsumer_01.jpg"]["role"] == "query"
    assert found[f"{folder}/id_2/comsumer_01.jpg"]["split"] == "validation"


# DeepFashion Category and Attribute Prediction


@pytest.mark.parametrize("annotation", ["coarse", "fine"])
def test_category_and_attribute_quirks(annotation: str, tmp_path: Path, made: Prepare) -> None:
    root = tmp_path / "set"
    names = [f"img/Striped_Tee/img_0000000{i}.jpg" for i in range(1, 6)]
    statuses = ["train", "train", "val", "test", "test"]
    lines = [f"{name}   {status}" for name, status in zip(names, statuses, strict=True)]
    listed(root / "Eval" / "list_eval_partition.txt", "image_name evaluation_status", *lines[:4])
    folder = root / f"Anno_{annotation}"
    listed(folder / "list_category_cloth.txt", "category_name category_type", "Anorak   1",
           "Tee  1")  # fmt: skip
    numbers = [2, 1, 2, 0, 1]
    listed(folder / "list_category_img.txt", "image_name category_label",
           *(f"{name}  {number}" for name, number in zip(names, numbers, strict=True)))  # fmt: skip
    listed(folder / "list_attr_cloth.txt", "attribute_name attribute_type", "red striped   1",
           "crew neckline  4", "faux leather 2")  # fmt: skip
    listed(folder / "list_attr_img.txt", "image_name attribute_labels",
           *(f"{name}  1 {'1' if i else '-1'}  0" for i, name in enumerate(names)))  # fmt: skip
    for seed, name in enumerate(names):
        photo(root / name, seed)
    table = made("deepfashion_attributes", f"data.annotation={annotation}")
    found, report = rows(table), balanced(table)
    assert report["dropped"] == {"photo in no split": 1}
    assert found[names[0]]["category"] == "Tee"  # ids count from 1
    assert found[names[0]]["pattern"] == "striped"  # of the name with a blank in it
    assert found[names[0]]["neckline"] == "unknown"  # -1 is no
    assert found[names[1]]["neckline"] == "crew"
    assert found[names[1]]["material"] == "unknown"  # 0 says nothing
    assert found[names[3]]["category"] == "unknown"  # not the last of the list, as [-1] would be
    assert found[names[2]]["split"] == "validation"
    assert all(row["product_id"] is None for row in found.values())


# DeepFashion-MultiModal


def test_multimodal_quirks(tmp_path: Path, made: Prepare) -> None:
    root = tmp_path / "set"
    shorts = "WOMEN-Shorts-id_00000001-01_1_front.jpg"
    tee = "WOMEN-Tees_Tanks-id_00000002-02_3_back.jpg"
    jacket = "MEN-Jackets_Vests-id_00000003-01_1_front.jpg"  # an outer garment, not a vest
    blouse = "WOMEN-Blouses_Shirts-id_00005873-02_3_back.jpg"
    dress = "WOMEN-Dresses-id_00000004-01_2_side.jpg"
    bare = "MEN-Pants-id_00000005-01_1_front.jpg"
    for seed, name in enumerate((shorts, tee, jacket, blouse, dress, bare, "notes.jpg")):
        photo(root / "images" / name, seed)
    said = (
        "This woman wears a tank shirt with solid color patterns and a three-point shorts. The "
        "tank shirt is with cotton fabric and its neckline is round. The shorts are with cotton "
        "fabric and striped patterns."
    )
    gone = "WOMEN-Skirts-id_00000009-01_1_front.jpg"
    write(root / "captions.json", json.dumps({shorts: said, tee: said, gone: "A skirt."}))
    # no header; sleeve, lower, socks, hat, glasses, neckwear, wrist, ring, waist, neckline,
    # cardigan, navel; each list covers other photos
    write(
        root / "labels/shape/shape_anno_all.txt",
        f"{jacket}   3 4 0 0 0 0 0 0 0 4 0 0",
        f"{blouse} 5 4 0 1 0 0 0 0 0 6 2 0",
        f"{dress} 4 4 0 0 2 0 0 0 0 3 1 0",
        f"{bare} 0 3 0 0 0 0 0 0 0 0 1 0",
        f"{tee} 1 2",
    )
    write(root / "labels/texture/fabric_ann.txt", f"{jacket} 1 0 2", f"{dress} 5 7 7",
          f"{bare} 1 0 7", f"{blouse} 7 0 7")  # fmt: skip
    write(root / "labels/texture/pattern_ann.txt", f"{jacket} 2 0 4", f"{dress} 6 7 7",
          f"{bare} 0 3 7")  # fmt: skip
    table = made(
        "deepfashion_multimodal",
        "data.attributes=[material,pattern,neckline,sleeve,gender,cardigan,glasses,hat]",
    )
    found, report = rows(table), balanced(table)
    assert report["rows_in"] == 8
    assert report["dropped"] == {
        "missing photo": 1, "a name that is not <gender>-<category>-id_<number>-<view>": 1,
    }  # fmt: skip
    got = {name: [row["material"], row["pattern"], row["neckline"], row["sleeve"]]
           for name, row in found.items()}  # fmt: skip
    assert got[shorts] == ["cotton", "striped", "unknown", "unknown"]  # its own garment's
    assert got[tee] == ["cotton", "solid", "round", "unknown"]
    assert got[jacket] == ["leather", "checked", "collared", "long"]  # the outer column, lapel
    assert got[blouse] == ["unknown"] * 4  # NA everywhere
    assert got[dress] == ["chiffon", "color_block", "high", "unknown"]  # 4: not long
    assert got[bare] == ["denim", "solid", "unknown", "unknown"]  # pants have no neckline
    assert (found[jacket]["cardigan"], found[dress]["cardigan"]) == ("yes", "no")  # inverted
    assert found[blouse]["cardigan"] == "unknown"
    assert (found[dress]["glasses"], found[blouse]["hat"]) == ("sunglasses", "yes")
    assert (found[blouse]["category"], found[blouse]["gender"]) == ("Blouses_Shirts", "women")
    assert found[blouse]["product_id"] == "WOMEN-Blouses_Shirts-id_00005873"
    assert report["repaired"]["row of shape_anno_all.txt without all fields left out"] == 1
    assert any("expected 44,096" in note for note in report["notes"])


# Fashion200k


def test_fashion200k_quirks(tmp_path: Path, made: Prepare) -> None:
    root = tmp_path / "set"
    first = "women/dresses/casual_and_day_dresses/51727804/51727804_0.jpeg"
    second = "women/dresses/casual_and_day_dresses/51727804/51727804_1.jpeg"
    third = "women/pants/cropped/90/90_0.jpeg"
    held = "women/tops/blouses/77/77_0.jpeg"
    write(root / "labels/dress_train_detect_all.txt", f"{first}\t0.91\tblack v-neck dress",
          f"{second}\t0.72\tblack v-neck dress", "women/torn")  # fmt: skip
    write(root / "labels/pants_train_detect_all.txt", f"{third}\t0.6\tblue 3/4 pants, cropped")
    write(root / "labels/top_test_detect_all.txt", f"{held}\t0.9\twhite blouse",
          f"{first}\t0.91\tblack v-neck dress")  # fmt: skip
    for seed, name in enumerate((first, second, third, held)):
        photo(root / name, seed)
    table = made("fashion200k", "data.splits={train: 0.5, validation: 0.5, test: 0.0}")
    found, report = rows(table), balanced(table)
    assert report["dropped"] == {"too few fields": 1, "duplicate item_id": 1}
    assert found[first]["product_id"] == found[second]["product_id"] == "51727804"
    assert found[first]["split"] == found[second]["split"]
    assert found[first]["text"] == "black v-neck dress"  # not what the path says
    assert (found[first]["neckline"], found[first]["gender"]) == ("v_neck", "women")
    assert found[third]["text"] == "blue 3/4 pants, cropped"  # commas are no separators
    assert (found[held]["split"], found[held]["category"]) == ("test", "top")


# FashionIQ


def fashioniq(root: Path) -> None:
    """Two kinds; a photo in both; one missing, one torn; a test without targets."""
    splits = {
        ("dress", "train"): ["A", "B"], ("dress", "val"): ["C", "D", "E", "F"],
        ("dress", "test"): ["T"], ("shirt", "val"): ["C", "G", "H"],
    }  # fmt: skip
    for (kind, split), names in splits.items():
        write(root / "image_splits" / f"split.{kind}.{split}.json", json.dumps(names))
    for seed, name in enumerate("ABCDEGT"):
        photo(root / "images" / f"{name}.{'png' if name == 'B' else 'jpg'}", seed)
    write(root / "images" / "F.jpg", "torn")

    def wish(candidate: str, target: str | None, *captions: str) -> dict[str, Any]:
        target_of = {} if target is None else {"target": target}
        return {"candidate": candidate, **target_of, "captions": list(captions)}

    captions = {
        ("dress", "train"): [wish("A", "B", "is red", "has longer sleeves")],
        ("dress", "val"): [
            wish("C", "D", "is blue", "is shorter"), wish("D", "F", "is torn", "is gone"),
            wish("D", "C", "is red", "is long"),
        ],
        ("dress", "test"): [wish("T", None, "is green", "is plain")],
        ("shirt", "val"): [wish("C", "G", "has stripes", "is a shirt")],
    }  # fmt: skip
    for (kind, split), said in captions.items():
        write(root / "captions" / f"cap.{kind}.{split}.json", json.dumps(said))


def test_fashioniq_quirks(tmp_path: Path, made: Prepare) -> None:
    fashioniq(tmp_path / "set")
    table = made("fashioniq")
    found, report = rows(table), balanced(table)
    assert report["dropped"] == {"corrupt photo": 1, "missing photo": 1}  # F and H
    assert {"dress/C", "shirt/C"} < set(found)  # a photo in two kinds is in both galleries
    assert found["dress/B"]["text"] == "is red and has longer sleeves"
    assert found["dress/B"]["split"] == "train"  # a .png
    assert found["dress/C"]["split"] == "validation"
    assert found["dress/T"]["split"] == "test"
    assert found["dress/T"]["text"] == ""


# H&M


def test_hm_quirks(tmp_path: Path, made: Prepare) -> None:
    root = tmp_path / "set"
    header = [
        "article_id", "product_code", "prod_name", "product_type_no", "product_type_name",
        "product_group_name", "graphical_appearance_no", "graphical_appearance_name",
        "colour_group_code", "colour_group_name", "perceived_colour_value_id",
        "perceived_colour_value_name", "perceived_colour_master_id",
        "perceived_colour_master_name", "department_no", "department_name", "index_code",
        "index_name", "index_group_no", "index_group_name", "section_no", "section_name",
        "garment_group_no", "garment_group_name", "detail_desc",
    ]  # fmt: skip

    def row(article: str, **values: str) -> dict[str, str]:
        given = {
            "article_id": article, "product_code": article[:7], "prod_name": "Strap top",
            "product_type_name": "Vest top", "graphical_appearance_name": "Stripe",
            "colour_group_name": "Dark Blue", "index_group_name": "Ladieswear",
            "detail_desc": "Jersey top, with narrow straps.",
        }  # fmt: skip
        return dict.fromkeys(header, "") | given | values

    articles = [
        row("0108775015"),
        row("0108775044", graphical_appearance_name="Unknown", detail_desc=""),
        row("110065001"),  # its 0 was lost
        row("0111565001", graphical_appearance_name="Melange", index_group_name="Sport"),
        row("0999999001"),
        row("12"),
        *(row(f"02{i:05d}001", index_group_name="Menswear") for i in range(12)),
    ]
    root.mkdir()
    with (root / "articles.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(articles)
    for seed, article in enumerate(articles):
        name = article["article_id"].rjust(10, "0")
        if name not in ("0999999001", "0000000012"):
            photo(root / "images" / name[:3] / f"{name}.jpg", seed)
    table = made("hm")
    found, report = rows(table), balanced(table)
    assert report["dropped"] == {"missing photo": 1, "article_id is not ten digits": 1}
    assert report["repaired"] == {"article_id without its leading 0": 1}
    first, second = found["0108775015"], found["0108775044"]  # ids are text
    assert first["product_id"] == second["product_id"] == "0108775"
    assert first["split"] == second["split"]
    assert first["text"] == "Strap top. Jersey top, with narrow straps."
    assert second["text"] == "Strap top"
    assert (first["pattern"], first["colour"], first["gender"]) == ("striped", "blue", "women")
    assert second["pattern"] == "unknown"
    assert found["0111565001"]["pattern"] == "melange"  # a word that the schema does not have
    assert found["0111565001"]["gender"] == "unknown"
    assert "0110065001" in found
    assert any("expected 105,542" in note for note in report["notes"])


# Polyvore


@pytest.mark.parametrize("version", ["disjoint", "nondisjoint"])
def test_polyvore_quirks(version: str, tmp_path: Path, made: Prepare) -> None:
    root = tmp_path / "set"
    keys = ("url_name", "title", "semantic_category", "category_id")
    entries = [
        ("red shoe", "", "shoes", "41"),
        ("x", "Striped tee", "tops", "9"),
        ("bag", "Bag", "bags", "9"),
        ("hat", "Hat", "hats", "9"),
    ]
    metadata = {str(i): dict(zip(keys, e, strict=True)) for i, e in enumerate(entries, start=1)}
    write(root / "polyvore_item_metadata.json", json.dumps(metadata))
    write(root / "categories.csv", "41,pumps,shoes", "7,coats,outerwear")

    def outfits(*items: str) -> str:
        return json.dumps([{"set_id": "s", "items": [{"item_id": i, "index": 1} for i in items]}])

    shared = ("3",) if version == "nondisjoint" else ()
    for name, items in {"train": ("1", *shared), "valid": ("2",), "test": ("3",)}.items():
        write(root / version / f"{name}.json", outfits(*items))
    for seed, name in enumerate("1234"):
        photo(root / "images" / f"{name}.jpg", seed)
    table = made("polyvore", f"data.version={version}")
    found, report = rows(table), balanced(table)
    assert report["dropped"] == {f"in no outfit of {version}": 1}
    assert found["1"]["text"] == "red shoe"  # no title: the name in its address
    assert (found["1"]["category"], found["2"]["category"]) == ("pumps", "tops")
    assert (found["2"]["text"], found["2"]["pattern"]) == ("Striped tee", "striped")
    assert found["3"]["split"] == "test"  # held out, though an outfit of train has it too
    assert report["repaired"].get("in outfits of several splits: held out", 0) == len(shared)


# The hub's


def saved(folder: Path, **splits: dict[str, list[Any]]) -> None:
    made = {}
    for name, columns in splits.items():
        count = len(columns["item_ID"]) if "item_ID" in columns else len(columns["category"])
        noise = np.random.default_rng(len(name)).integers(0, 255, (count, 8, 8, 3), dtype=np.uint8)
        images = [Image.fromarray(pixels) for pixels in noise]
        made[name] = datasets.Dataset.from_dict({"image": images, **columns})
    datasets.DatasetDict(made).save_to_disk(str(folder))


def test_marqo_columns_that_are_all_null(tmp_path: Path) -> None:
    saved(tmp_path / "hub", data={
        "item_ID": [f"{i}" for i in range(12)], "category1": ["WOMEN"] * 12,
        "category2": ["Tees"] * 11 + [None], "category3": [None] * 12,
        "text": ["A cotton tee with a round neckline"] * 12,
    })  # fmt: skip
    for column, category in (("category2", "Tees"), ("category3", "unknown")):
        name = f"data.name={tmp_path / 'hub'}"
        cfg = composed("evaluate", ["data=marqo", name, f"data.columns.category={column}"])
        found = rows(prepare(build(cfg.data), tmp_path / "cache"))
        assert len(found) == 12
        assert found["0"]["category"] == category
        assert found["11"]["category"] == "unknown"
        assert found["0"]["neckline"] == "round"


def test_lookbench_queries_and_gallery_are_who_searches_what(tmp_path: Path) -> None:
    saved(tmp_path / "hub", query={"category": ["dress", "coat"]},
          gallery={"category": ["dress", "coat", "bag"]})  # fmt: skip
    cfg = composed("evaluate", ["data=lookbench", f"data.name={tmp_path / 'hub'}"])
    table = prepare(build(cfg.data), tmp_path / "cache")
    assert table.splits == ("test",)
    assert sorted(table.column("role")) == ["gallery"] * 3 + ["query"] * 2
    assert balanced(table)["rows_in"] == 5
