"""Preparing a set, against reading and decoding its photos with nothing around it.

    python benchmarks/preparation.py <folder with styles.csv and images/> [items]

The photos are repeated until there are so many items (40,000). Each is read, decoded once to see
that it is whole, and stored as it came; texts are read for attributes. Prints items a second of
both, and the peak of memory.
"""

import csv
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hydra import compose, initialize_config_dir

from fashret.config import build, config_dir
from fashret.data.items import prepare
from fashret.data.photos import decode_photo


def repeated(source: Path, folder: Path, count: int) -> list[Path]:
    """A set of `count` items with ids of their own; its photos are links."""
    with (source / "styles.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = [row for row in csv.reader(file) if len(row) == 10]
    rows = [row for row in rows if (source / "images" / f"{row[0]}.jpg").exists()]
    (folder / "images").mkdir()
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


def main(source: Path, count: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "set")
        folder.mkdir()
        photos = repeated(source.resolve(), folder, count)

        def bare(path: Path) -> None:
            decode_photo(path.read_bytes())

        start = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(bare, photos, chunksize=64))
        decoding = time.perf_counter() - start

        initialize_config_dir(config_dir(), version_base="1.3")
        cfg = compose("evaluate", overrides=["data=fashion_products", f"data.root={folder}"])
        start = time.perf_counter()
        table = prepare(build(cfg.data), Path(scratch, "cache"))
        preparing = time.perf_counter() - start
        stored = all(table.photo(row) for row in (0, len(table) - 1))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{len(table)} items, stored as they came: {stored}; {os.cpu_count()} cores")
        print(f"reading and decoding alone  {count / decoding:8.0f} items/s")
        print(f"preparing                   {count / preparing:8.0f} items/s")
        print(f"ratio                       {decoding / preparing:8.2f}")
        print(f"peak memory                 {peak:8.2f} GiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40_000)
