"""DeepFashion Consumer-to-shop, on a small copy of its layout with its quirks in it."""

from pathlib import Path

from support.official_sets import Prepare, listed
from support.sources import balanced, photo, rows


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
