"""Photos and texts as they are given: each is what its file would be, or refused by name."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fashret.errors import ConfigError, DataError
from fashret.models.encoding import (
    encode_in_batches,
    listed_photos,
    listed_texts,
    open_photo,
)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def file_of(photo: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    written = io.BytesIO()
    photo.save(written, kind, **options)
    return written.getvalue()


def test_an_opened_photo_is_what_its_file_is(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    for encoded in (
        file_of(Image.fromarray(pixels(40, 30, 3)), "JPEG", exif=turned),
        file_of(Image.fromarray(pixels(40, 30, 4))),
        file_of(Image.fromarray(pixels(40, 30).astype(np.uint16) * 257)),
        file_of(Image.fromarray(pixels(40, 30))),
        file_of(Image.fromarray(pixels(40, 30, 3)).convert("P")),
    ):
        expected = np.asarray(open_photo(encoded))
        assert expected.ndim == 3
        opened = open_photo(Image.open(io.BytesIO(encoded)))
        np.testing.assert_array_equal(np.asarray(opened), expected)
        (tmp_path / "photo").write_bytes(encoded)
        np.testing.assert_array_equal(np.asarray(open_photo(tmp_path / "photo")), expected)


def test_an_array_is_grey_rgb_or_rgb_with_transparency() -> None:
    grey, rgb = pixels(40, 30), pixels(40, 30, 3)
    np.testing.assert_array_equal(np.asarray(open_photo(rgb)), rgb)
    np.testing.assert_array_equal(np.asarray(open_photo(grey)), np.stack([grey] * 3, axis=2))
    clear = np.concatenate([rgb, np.zeros((40, 30, 1), dtype=np.uint8)], axis=2)
    assert np.asarray(open_photo(clear)).min() == 255  # white shows through
    for one in (grey, rgb, clear):
        assert len(listed_photos(one)) == 1
    assert len(listed_photos(pixels(5, 40, 30, 3))) == 5
    assert listed_photos([]) == []
    assert listed_photos(pd.Series(["a.jpg", "b.jpg"], index=[7, 9])) == ["a.jpg", "b.jpg"]  # type: ignore[arg-type]  # a column of a table


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (pixels(40, 30, 3).astype(np.float32) / 255, r"a photo of \(40, 30, 3\) float32: an array"),
        (pixels(40, 30).astype(np.uint16), r"\(40, 30\) uint16: an array is"),
        (pixels(3, 40, 30), r"\(3, 40, 30\) uint8: an array is"),
        (pixels(40, 30, 1), r"\(40, 30, 1\) uint8"),
        (pixels(0, 30, 3), r"\(0, 30, 3\) uint8"),
        (pixels(2000, 10, 3), r"10 x 2000 pixels, and the longer side may be at most 50 times"),
        (None, r"a photo is a path, .* not a NoneType"),
        (torch.zeros(3, 4, 4), r"not a Tensor"),
        (io.BytesIO(b"x"), r"not a BytesIO"),
        ("a\0b.jpg", r"cannot be read"),
        ("~nobody-of-this-name/x.jpg", r"cannot be read"),
        (b"no photo", r"not a photo in one of the formats"),
    ],
)
def test_what_is_no_photo_is_refused(photo: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_photo(photo)


def test_a_photo_that_is_cut_off_is_refused_when_it_is_opened_too() -> None:
    encoded = file_of(Image.fromarray(pixels(200, 200, 3)), "JPEG")
    with pytest.raises(DataError, match="not a readable photo"):
        open_photo(Image.open(io.BytesIO(encoded[: len(encoded) // 2])))


@pytest.mark.parametrize("texts", [None, 5, b"red"])
def test_what_is_no_list_of_texts_is_refused(texts: Any) -> None:
    with pytest.raises(DataError, match=r"texts are a text or a list of texts, not a"):
        listed_texts(texts)
    with pytest.raises(DataError, match=r"text 1 is a .*, not a text; an item without a text"):
        listed_texts(["red", texts])
    with pytest.raises(DataError, match=r"photos are paths, .* or a list of them"):
        listed_photos(5)  # type: ignore[arg-type]  # a wrong type is what is tested


def test_texts_may_be_any_iterable() -> None:
    assert listed_texts("red") == ["red"]
    assert listed_texts(np.array(["a", "b"])) == ["a", "b"]  # type: ignore[arg-type]  # works too
    assert listed_texts(text for text in "ab") == ["a", "b"]  # type: ignore[arg-type]
    assert listed_texts([]) == []


@pytest.mark.parametrize("size", [0, -1, 1.5, None, "8"])
def test_a_batch_has_at_least_one(size: Any) -> None:
    with pytest.raises(ConfigError, match=rf"batch_size={size}: must be a whole number"):
        encode_in_batches(["a"], lambda part: torch.zeros(len(part), 2), batch_size=size, what="x")
