import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from fashret.data.photos import decode_photo, read_photo
from fashret.errors import DataError


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def pixel(data: bytes, x: int = 2, y: int = 2) -> tuple[int, ...]:
    photo = decode_photo(data)
    assert photo.mode == "RGB"
    value = photo.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def test_greyscale_and_palette() -> None:
    assert pixel(encoded(Image.new("L", (5, 5), 90))) == (90, 90, 90)
    palette = Image.new("RGB", (5, 5), (200, 10, 30)).convert("P")
    assert pixel(encoded(palette)) == pytest.approx((200, 10, 30), abs=26)


def test_cmyk_jpeg() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert pixel(encoded(cyan, "JPEG", quality=95)) == pytest.approx((0, 255, 255), abs=4)


def test_16_bit_is_scaled_not_clipped() -> None:
    samples = np.full((5, 5), 32768, dtype=np.uint16)
    assert pixel(encoded(Image.fromarray(samples))) == pytest.approx((127, 127, 127), abs=1)


def test_transparency_lies_over_white() -> None:
    assert pixel(encoded(Image.new("RGBA", (5, 5), (255, 0, 0, 0)))) == (255, 255, 255)
    half = pixel(encoded(Image.new("RGBA", (5, 5), (0, 0, 0, 128))))
    assert half == pytest.approx((127, 127, 127), abs=1)


def test_an_animation_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixel(data) == pytest.approx((255, 0, 0), abs=2)


def test_exif_orientation_turns_the_photo_upright() -> None:
    image = Image.new("RGB", (40, 20), "white")
    image.paste((0, 0, 255), (0, 0, 20, 20))  # blue on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    data = encoded(image, "JPEG", exif=exif, quality=95)
    photo = decode_photo(data)
    assert photo.size == (20, 40)
    assert pixel(data, 10, 4) == pytest.approx((0, 0, 255), abs=12)  # blue is on top


NOISE = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
TORN = encoded(Image.fromarray(NOISE))[:900]


@pytest.mark.parametrize("data", [b"", b"not a photo", TORN], ids=["empty", "text", "torn"])
def test_what_is_no_whole_photo_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"not a (readable )?photo"):
        decode_photo(data)


@pytest.mark.parametrize("size", [(51, 1), (1, 51), (3000, 50)])
def test_a_photo_that_is_too_thin_is_refused(size: tuple[int, int]) -> None:
    """A model's resizing would leave nothing of its shorter side, or make millions of pixels."""
    with pytest.raises(DataError, match=rf"{size[0]} x {size[1]} pixels, and the longer side"):
        decode_photo(encoded(Image.new("RGB", size)))
    assert decode_photo(encoded(Image.new("RGB", (50, 1)))).size == (50, 1)


@pytest.mark.parametrize("error", [TypeError, AttributeError, struct.error, KeyError, ValueError])
def test_whatever_exif_tags_make_pillow_raise_the_pixels_are_kept(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(photo: Image.Image) -> Image.Image:
        raise error("damaged")

    monkeypatch.setattr(ImageOps, "exif_transpose", fails)
    assert decode_photo(encoded(Image.fromarray(NOISE))).size == (60, 60)


def test_floating_point_samples_from_0_to_1_are_scaled() -> None:
    samples = Image.fromarray(np.full((20, 20), 0.5, dtype=np.float32))
    assert np.asarray(decode_photo(encoded(samples, "TIFF"))).mean() == pytest.approx(127, abs=1)


def test_samples_that_are_not_numbers_are_refused() -> None:
    samples = np.full((20, 20), 0.5, dtype=np.float32)
    samples[3, 4] = np.nan
    with pytest.raises(DataError, match="samples contain NaN or Inf"):
        decode_photo(encoded(Image.fromarray(samples), "TIFF"))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_an_avif_file_is_read() -> None:
    assert decode_photo(encoded(Image.new("RGB", (16, 12), "red"), "AVIF")).size == (16, 12)


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="pixels"):
        decode_photo(encoded(Image.new("RGB", (12, 12))))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.jpg"):
        read_photo(tmp_path / "gone.jpg")


def large(side: int = 900) -> bytes:
    """A JPEG with fine detail."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((side * 4 // 3, side), Image.Resampling.BICUBIC))
    grain = rng.normal(0, 12, pixels.shape)
    file = io.BytesIO()
    Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=92)
    return file.getvalue()


def test_a_large_jpeg_is_decoded_no_larger_than_enough() -> None:
    encoded = large()
    assert decode_photo(encoded).size == (1200, 900)
    assert decode_photo(encoded, min_side=400).size == (600, 450)
    assert decode_photo(encoded, min_side=128).size == (300, 225)  # 1/8 would be too small
    assert decode_photo(encoded, min_side=500).size == (1200, 900)
    half, whole = decode_photo(encoded, min_side=400), decode_photo(encoded)
    small = [np.asarray(p.resize((64, 48), Image.Resampling.BICUBIC), float) for p in (half, whole)]
    assert np.abs(small[0] - small[1]).mean() < 1.0  # of 255


def test_only_a_jpeg_has_a_smaller_self() -> None:
    file = io.BytesIO()
    Image.new("RGB", (640, 480), "red").save(file, "PNG")
    assert decode_photo(file.getvalue(), min_side=32).size == (640, 480)


def test_orientation_holds_for_what_is_decoded_small() -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    Image.new("RGB", (640, 480), "red").save(file, "JPEG", exif=exif)
    assert decode_photo(file.getvalue(), min_side=64).size == (60 * 2, 80 * 2)
