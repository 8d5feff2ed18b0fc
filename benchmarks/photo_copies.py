"""How many copies of real photos are found, and how many photos that are none.

    python benchmarks/photo_copies.py data.root=<folder> [data=fashion_products] [...]

Encodes, resizes and pads a seeded sample of a set's photos and prints which share of these copies
is found (recall). Lists the photos of the set that are found to be copies although their bytes
differ, with the correlation and the mean absolute difference of their pixels, and puts 96 of these
pairs, or all, side by side into photo_copies.png (precision is for the eye to judge). Prepares the
set in turns with and without signatures and prints the ratio of the seconds.
"""

import hashlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hydra import compose, initialize_config_dir
from measure import alternate
from PIL import Image

from fashret.config import build, config_dir
from fashret.data import photo_checks as reading
from fashret.data.items import ItemTable
from fashret.data.photo_copies import SIGNATURE_BYTES, find_copies, signature
from fashret.data.photos import decode_photo
from fashret.data.preparation import prepare

SAMPLE, SHOWN, TURNS = 2000, 96, 3


def encoded(photo: Image.Image, form: str, **options: int) -> bytes:
    file = io.BytesIO()
    photo.save(file, form, **options)
    return file.getvalue()


def resized(photo: Image.Image, scale: float) -> Image.Image:
    size = (round(photo.width * scale), round(photo.height * scale))
    return photo.resize(size, Image.Resampling.LANCZOS)


def padded(photo: Image.Image, share: float) -> Image.Image:
    edge = max(1, round(photo.width * share))
    frame = Image.new("RGB", (photo.width + 2 * edge, photo.height + 2 * edge), "white")
    frame.paste(photo, (edge, edge))
    return frame


def changes() -> dict[str, Callable[[Image.Image], bytes]]:
    """The ways in which a photo is copied."""
    made: dict[str, Callable[[Image.Image], bytes]] = {"PNG": lambda p: encoded(p, "PNG")}
    for quality in (60, 75, 90):
        made[f"JPEG {quality}"] = lambda p, q=quality: encoded(p, "JPEG", quality=q)
    made["WebP 80"] = lambda p: encoded(p, "WEBP", quality=80)
    for scale in (0.5, 0.75, 1.5, 2.0, 3.0):
        made[f"{scale} x, JPEG 85"] = lambda p, s=scale: encoded(resized(p, s), "JPEG", quality=85)
    for share in (0.02, 0.05):
        made[f"padded by {share:.0%}, JPEG 90"] = lambda p, s=share: encoded(
            padded(p, s), "JPEG", quality=90
        )
    return made


def signatures(photos: list[bytes]) -> list[bytes]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda photo: signature(decode_photo(photo)), photos))


def found(originals: list[bytes], copies: list[bytes]) -> float:
    """The share of copies that are found beside their original alone."""
    hits = 0
    for one, other in zip(originals, copies, strict=True):
        both = np.frombuffer(one + other, np.uint8).reshape(2, SIGNATURE_BYTES)
        hits += find_copies(np.arange(2), both)[1] == 0
    return 100.0 * hits / len(originals)


def pixels(table: ItemTable, row: int, size: tuple[int, int]) -> np.ndarray:
    photo = decode_photo(table.photo(row)).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(photo, dtype=np.float64)


def pairs(table: ItemTable) -> Iterator[tuple[int, int, float, float]]:
    """Photos of other bytes that are copies: rows, correlation and mean absolute difference."""
    codes, hashes = table.photo_codes, table.photo_hashes
    assert hashes is not None
    order = np.argsort(codes, kind="stable")
    for run in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        seen = {hashes[run[0]]}
        for row in run[1:]:
            if hashes[row] not in seen:
                seen.add(hashes[row])
                size = decode_photo(table.photo(int(run[0]))).size
                one, other = (pixels(table, int(r), size) for r in (run[0], row))
                correlation = float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
                yield int(run[0]), int(row), correlation, float(np.abs(one - other).mean())


def sheet(table: ItemTable, shown: list[tuple[int, int, float, float]], path: Path) -> None:
    """Pairs side by side, 8 in a row."""
    image = Image.new("RGB", (8 * 170, -(-len(shown) // 8) * 110), "grey")
    for i, pair in enumerate(shown):
        for j in range(2):
            photo = decode_photo(table.photo(pair[j])).resize((80, 106))
            image.paste(photo, (i % 8 * 170 + 80 * j, i // 8 * 110))
    image.save(path)


def main() -> None:
    """The command."""
    overrides = ["data=fashion_products", *sys.argv[1:]]
    with initialize_config_dir(config_dir(), version_base="1.3"):
        source = build(compose("evaluate", overrides=overrides).data)
    with tempfile.TemporaryDirectory() as scratch:

        def prepared() -> ItemTable:
            return prepare(source, Path(tempfile.mkdtemp(dir=scratch)))

        def without() -> ItemTable:
            names = iter(range(10**9))

            def blank(photo: Image.Image) -> bytes:
                return hashlib.sha256(str(next(names)).encode()).digest().ljust(SIGNATURE_BYTES)

            with patch.object(reading, "signature", blank):
                return prepared()

        table = prepared()
        rows = np.random.default_rng(0).choice(len(table), min(SAMPLE, len(table)), replace=False)
        photos = [table.photo(row) for row in rows]
        originals = signatures(photos)
        print(f"{len(table)} photos, recall on {len(rows)} of them\n")
        print("| copy | found % |\n| --- | ---: |")
        for name, change in changes().items():
            copies = signatures([change(decode_photo(photo)) for photo in photos])
            print(f"| {name} | {found(originals, copies):.1f} |")
        counts = {k: v for k, v in table.report["photo_copies"].items() if k != "examples"}
        print(f"\nphoto_copies: {counts}")
        listed = list(pairs(table))
        ids = table.column("item_id")
        print(f"\n{len(listed)} pairs whose bytes differ: items, correlation, difference of 255")
        for a, b, correlation, difference in listed:
            print(f"{ids[a]} {ids[b]} {correlation:.4f} {difference:.2f}")
        order = np.random.default_rng(0).permutation(len(listed))[:SHOWN]
        sheet(table, [listed[i] for i in order], Path("photo_copies.png"))
        ratio = alternate(prepared, without, TURNS)
        print(
            f"\npreparing: {ratio.ours:.1f} s with signatures, {ratio.theirs:.1f} s without: "
            f"{ratio.median:.2f} times ({ratio.low:.2f} to {ratio.high:.2f})"
        )


if __name__ == "__main__":
    main()
