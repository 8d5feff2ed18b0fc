"""DeepFashion-MultiModal, on a small copy of its layout with its quirks in it."""

import json
from pathlib import Path

from support.official_sets import Prepare, write
from support.sources import balanced, photo, rows


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
