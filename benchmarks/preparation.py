"""Preparing a set, against reading and decoding its photos with nothing around it.

    python benchmarks/preparation.py --photos <folder with styles.csv and images/> [--items N]

The photos are repeated until there are so many items (40,000). Each is read, decoded once to see
that it is whole, and stored as it came; texts are read for attributes. The bare one reads and
decodes by as many threads, and does nothing else.
"""

import csv
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hydra import compose, initialize_config_dir
from measure import Options, Row, alternate, benchmark

from fashret.config import build, config_dir
from fashret.data.items import ItemTable
from fashret.data.photos import decode_photo
from fashret.data.preparation import prepare


def repeated(source: Path, folder: Path, count: int) -> list[Path]:
    """A set of `count` items with ids of their own; its photos are links."""
    with (source / "styles.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = [row for row in csv.reader(file) if len(row) == 10]
    rows = [row for row in rows if (source / "images" / f"{row[0]}.jpg").exists()]
    (folder / "images").mkdir(parents=True)
    photos = []
    with (folder / "styles.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for number in range(count):
            row = rows[number % len(rows)]
            writer.writerow([str(number), *row[1:]])
            photos.append(folder / "images" / f"{number}.jpg")
            photos[-1].symlink_to(source / "images" / f"{row[0]}.jpg")
    return photos


def decoded(path: Path) -> None:
    decode_photo(path.read_bytes())


def rows(options: Options) -> Iterator[Row]:
    if options.photos is None:
        yield Row("preparing", note="not run: needs real photos, --photos <folder>")
        return
    count = options.more.items or (2000 if options.quick else 40_000)
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch, "set"), Path(scratch, "cache")
        photos = repeated(options.photos.resolve(), folder, count)
        with initialize_config_dir(config_dir(), version_base="1.3"):
            cfg = compose("evaluate", overrides=["data=fashion_products", f"data.root={folder}"])

        def bare() -> int:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return len(list(pool.map(decoded, photos, chunksize=64)))

        def ours() -> ItemTable:
            shutil.rmtree(cache, ignore_errors=True)
            return prepare(build(cfg.data), cache)

        ratio = alternate(ours, bare, 1 if options.quick else 2)
        table, read = ratio.found
        assert len(table) == read, f"{read - len(table)} items were dropped"
        assert all(table.photo(row) for row in (0, len(table) - 1)), "a photo is empty"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        note = f"{count / ratio.ours:.0f} against {count / ratio.theirs:.0f} items/s, "
        note += f"peak {peak:.2f} GiB"
        yield Row.of(f"preparing {count:,} items", "reading and decoding alone", ratio, note=note)


if __name__ == "__main__":
    benchmark(rows, __doc__, ("--items", {"type": int}))
