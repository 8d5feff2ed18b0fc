"""Fashion200K, on a small copy of its layout with its quirks in it."""

from pathlib import Path

from support.official_sets import Prepare, write
from support.sources import balanced, photo, rows


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
