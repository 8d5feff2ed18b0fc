"""Copies of one photo: how they are found, and that they count neither as hits nor in training."""

import csv
import io
import itertools
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fashret.config import build
from fashret.data.items import ItemTable
from fashret.data.photo_copies import (
    SIGNATURE_BYTES,
    find_copies,
    join_copies,
    near_pairs,
    signature,
)
from fashret.data.preparation import prepare
from fashret.errors import DataError
from fashret.types import UNKNOWN
from support.commands import Run, composed
from support.products import grouped, plain


def drawn(seed: int, size: tuple[int, int] = (90, 120)) -> Image.Image:
    """A photo like no other: a few coloured patches with soft borders."""
    patches = np.random.default_rng(seed).integers(0, 255, (7, 5, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def garment(colour: str, *, stripe: str | None = None) -> Image.Image:
    """A catalog photo: a shirt on white."""
    photo = Image.new("RGB", (90, 120), "white")
    draw = ImageDraw.Draw(photo)
    draw.polygon([(30, 20), (60, 20), (85, 45), (70, 55), (65, 105), (25, 105), (20, 55), (5, 45)],
                 fill=colour)  # fmt: skip
    if stripe is not None:
        draw.rectangle((24, 60, 66, 75), fill=stripe)
    return photo


def encoded(photo: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    photo.save(file, form, **options)
    return file.getvalue()


def again(photo: Image.Image, form: str = "PNG", scale: float = 1.0, **options: Any) -> Image.Image:
    """A photo that was resized, encoded and decoded."""
    size = (round(photo.width * scale), round(photo.height * scale))
    small = photo.resize(size, Image.Resampling.LANCZOS)
    return Image.open(io.BytesIO(encoded(small, form, **options))).convert("RGB")


def codes(photos: list[Image.Image]) -> list[int]:
    return find_copies(np.arange(len(photos)), signatures(photos)).tolist()


def signatures(photos: list[Image.Image]) -> NDArray[np.uint8]:
    joined = b"".join(signature(photo) for photo in photos)
    return np.frombuffer(joined, np.uint8).reshape(-1, SIGNATURE_BYTES)


# Finding them


def test_encoding_and_resizing_leave_a_copy_a_copy() -> None:
    originals = [drawn(seed) for seed in range(20)]
    copies = [
        again(photo, **how)
        for how in (
            {"form": "JPEG", "quality": 60},
            {"form": "JPEG", "quality": 90},
            {"form": "WEBP", "quality": 80},
            {"form": "JPEG", "quality": 85, "scale": 0.5},
            {"form": "JPEG", "quality": 85, "scale": 2.0},
        )
        for photo in originals
    ]
    assert codes([*originals, *copies]) == list(range(20)) * 6


def test_a_garment_in_another_colour_or_print_is_no_copy() -> None:
    photos = [
        garment("navy"), garment("black"), garment("darkred"), garment("navy", stripe="white"),
        garment("navy", stripe="maroon"), garment("#000000", stripe="#202020"),
    ]  # fmt: skip
    assert codes(photos) == list(range(len(photos)))


def test_a_chain_of_small_differences_is_cut() -> None:
    # Each is 3 grey levels lighter than the one before; 5 is the most that copies differ by.
    patches = np.random.default_rng(0).integers(0, 2, (8, 8)).repeat(10, 0).repeat(10, 1) * 200
    chain = [Image.fromarray((patches + 3 * i).astype(np.uint8)).convert("RGB") for i in range(8)]
    assert codes(chain) == [0, 0, 2, 2, 4, 4, 6, 6]


def test_equal_bytes_are_copies_whatever_they_show() -> None:
    found = find_copies(np.array([1, 0, 1]), signatures([drawn(i) for i in range(3)]))
    assert found.tolist() == [0, 1, 0]
    assert find_copies(np.empty(0, np.int64), signatures([])).tolist() == []


@pytest.mark.parametrize("max_distance", [0, 4, 5])
def test_near_pairs_are_those_of_brute_force(max_distance: int) -> None:
    rng = np.random.default_rng(max_distance)
    bits = np.concatenate([rng.random((150, 64)) < 0.5, np.zeros((60, 64), dtype=bool)])
    near = bits[rng.integers(0, len(bits), 200)] ^ (rng.random((200, 64)) < 0.04)
    hashes = np.packbits(np.concatenate([bits, near]), axis=1).view(np.uint64).ravel()
    found = [
        (min(a, b), max(a, b))
        for first, second in near_pairs(hashes, max_distance)
        for a, b in zip(first.tolist(), second.tolist(), strict=True)
    ]
    expected = {
        (a, b)
        for a, b in itertools.combinations(range(len(hashes)), 2)
        if (int(hashes[a]) ^ int(hashes[b])).bit_count() <= max_distance
    }
    assert len(expected) >= 60 * 59 / 2  # those that are equal
    assert len(found) == len(set(found))  # each once
    assert set(found) == expected


@pytest.mark.run
def test_the_samples_two_views_are_no_copies(cache_dir: Path) -> None:
    source = build(composed("train", ["data.products=48", f"paths.output_dir={cache_dir}"]).data)
    assert prepare(source, cache_dir).report["photo_copies"]["groups"] == 0


# Products that nobody stated


def test_copies_without_a_stated_product_are_one_product() -> None:
    ids = list("abcdefgh")
    products = [None, None, "x", "y", "z", "z", "stated", None]
    confidences = [0.0, 0.0, 0.9, 0.0, 0.5, 0.5, 1.0, 0.0]
    photos = np.array([0, 0, 1, 1, 1, 5, 6, 6])  # z has a second photo; h is a copy of a stated one
    free = [False] * 8
    made = grouped(products, confidences)
    options = {"fixed": np.array(free), "item_id": ids.__getitem__}
    joined, sure = plain(join_copies(made, photos, 3, **options))
    assert joined == ["copies of a", "copies of a", "x", "x", "x", "x", "stated", None]
    assert sure == [0.99] * 6 + [1.0, 0.0]
    # a photo of more than `largest` items is a placeholder
    joined, _ = plain(join_copies(made, photos, 2, **options))
    assert joined[2:6] == list("xyzz")


def test_a_product_that_was_taken_away_by_hand_stays_away(tmp_path: Path) -> None:
    rows = [(encoded(drawn(i // 2)), f"p{i // 2}", "") for i in range(24)]
    options = written(tmp_path / "shop", rows, product=False)
    (tmp_path / "corrected.csv").write_text("item_id,product_id\ni4x.img.png,unknown\n")
    options.append(f"data.overrides={tmp_path / 'corrected.csv'}")
    table = prepared(options, tmp_path / "cache")
    products = dict(zip(table.column("item_id"), table.column("product_id"), strict=True))
    assert products["i4x.img.png"] is None
    assert products["i6x.img.png"] == products["i7x.img.png"] is not None


Rows = list[tuple[bytes, str, str]]


def written(root: Path, rows: Rows, *, product: bool = True) -> list[str]:
    """A folder of photos, each with its product and split, and what a command needs to read it."""
    root.mkdir()
    with (root / "items.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text", "category"] + ["product_id", "split"] * product)
        for i, (photo, of, split) in enumerate(rows):
            (root / f"i{i}x.img.png").write_bytes(photo)
            stated = [of, split] if product else []
            writer.writerow([f"i{i}x.img.png", f"a shirt, no. {i}", "shirts", *stated])
    return [
        "data=folder", f"data.root={root}", "data.table=items.csv", "data.num_workers=0",
        "data.attributes=[]", "retrieval.resamples=20", "targets=none", "callbacks.watchdog=null",
        "trainer.max_epochs=1", "data.batch_size=4",
    ]  # fmt: skip


def leaking(copied: int) -> Rows:
    """24 training and 12 held-out items; the first training photos are copies of test photos."""
    test = [drawn(100 + i) for i in range(6)]
    rows = [(encoded(drawn(i)), f"p{i // 2}", "train") for i in range(copied, 24)]
    for i in range(copied):
        how = ({"form": "PNG"}, {"form": "JPEG", "quality": 75}, {"form": "PNG", "scale": 1.5})
        rows.append((encoded(again(test[i % 6], **how[i // 2 % 3])), f"copy{i}", "train"))
    rows += [(encoded(drawn(50 + i)), f"v{i // 2}", "validation") for i in range(6)]
    return rows + [(encoded(photo), f"t{i // 2}", "test") for i, photo in enumerate(test)]


def prepared(options: list[str], cache: Path) -> ItemTable:
    data = [option for option in options if option.startswith("data")]
    source = build(composed("train", [*data, f"paths.output_dir={cache}"]).data)
    return prepare(source, cache)


def test_training_photos_that_are_copies_of_test_photos_are_reported_and_dropped(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = written(tmp_path / "leaking", leaking(6))
    folder = run("train", *options, small=False)
    assert "copies of photos: 6 of 6 test photos are also training photos of other" in caplog.text
    assert "dropping 6 training items whose photo or product also occurs in" in caplog.text
    report = prepared(options, run.cache_dir).report["photo_copies"]
    assert report["groups"] == 6
    assert report["items"] == report["across_products"] == 12
    assert report["across_splits"] == {"train": 6, "test": 6}
    # items 18 to 23 are the training copies, 30 to 35 the test photos
    assert {"items": ["i18x.img.png", "i30x.img.png"], "products": ["copy0", "t0"],
            "splits": ["test", "train"]} in report["examples"]  # fmt: skip
    leaving = json.loads((folder / "mining" / "groups.json").read_text())["leaving_training"]
    assert sorted(leaving) == [f"i{i}x.img.png" for i in range(18, 24)]


def test_nothing_left_to_train_on_is_said(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no training item is left: .* for 24 of 24 the photo"):
        run("train", *written(tmp_path / "copied", leaking(24)), small=False)


def test_a_placeholder_picture_is_named_and_is_no_product(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    placeholder = encoded(garment("grey"))
    rows = [(encoded(drawn(i)), f"p{i}", "train") for i in range(12)]
    rows += [(placeholder, f"v{i}", "validation") for i in range(13)]
    rows += [(encoded(drawn(20 + i)), f"t{i}", "test") for i in range(3)]
    with caplog.at_level(logging.WARNING):
        prepared(written(tmp_path / "stated", rows), tmp_path / "cache")
    assert "13 of 13 validation photos are one photo, such as that of item i12x.img.png" in (
        caplog.text
    )
    table = prepared(written(tmp_path / "unstated", rows, product=False), tmp_path / "cache")
    assert set(table.products()) == {UNKNOWN}  # 13 items are more than data.groups.largest


def test_unstated_copies_stay_on_one_side_of_a_split(tmp_path: Path) -> None:
    rows = [
        (encoded(again(drawn(i), "JPEG", quality=quality)), "", "")
        for i in range(20)
        for quality in (95, 70)
    ]
    table = prepared(written(tmp_path / "twice", rows, product=False), tmp_path / "cache")
    report = table.report["photo_copies"]
    assert (report["groups"], report["items"], report["across_splits"]) == (20, 40, {})
    assert len(set(table.products(0.6))) == 20
