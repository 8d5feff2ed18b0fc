"""Memory of preparing and encoding a table of many rows.

    python benchmarks/large_table.py [--items N] [--texts N] [--steps prepare,encode] [--folder F]

Writes shards of parquet with 200 photos, over all rows again and again, ids and products of their
own and `--texts` different titles; prepares them (`data=hub`) and builds a catalog with the
smallest model, each in a process of its own. Prints seconds, rows a second, and what the process
held at its peak besides pages of files, which the system takes back when it needs them. With
`--limit MB` the processes run in a control group of Linux that has no more memory, pages included:
they end, or are killed.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

PHOTOS, SHARD = 200, 250_000
GROUP = Path("/sys/fs/cgroup/memory/fashret")
STEPS = {
    "prepare": "import fashret; print(len(fashret.prepare({options})))",
    "encode": "import fashret; fashret.build_catalog('model=tiny', {options})",
}


def photos() -> list[bytes]:
    """200 different photos of 32 x 32 pixels."""
    made = []
    for seed in range(PHOTOS):
        patches = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(patches).resize((32, 32), Image.Resampling.BICUBIC).save(file, "JPEG")
        made.append(file.getvalue())
    return made


def write_shards(folder: Path, items: int, texts: int) -> None:
    """Write the table, a shard at a time."""
    folder.mkdir(parents=True)
    pictures = pa.array(photos(), pa.binary())
    shards = -(-items // SHARD)
    colours = pa.array("black white red blue green".split())
    for shard in range(shards):
        rows = np.arange(shard * SHARD, min(items, (shard + 1) * SHARD))
        table = pa.table(
            {
                "item_id": [f"item-{row:08}" for row in rows.tolist()],
                "product_id": [f"p{row // 3:08}" for row in rows.tolist()],
                "image": pictures.take(pa.array(rows * 7 % PHOTOS)),
                "text": [f"a dress in cotton, number {row % texts}" for row in rows.tolist()],
                "category": pa.array(["dress"] * len(rows)),
                "colour": colours.take(pa.array(rows % len(colours))),
            }
        )
        path = folder / f"train-{shard:05}-of-{shards:05}.parquet"
        pq.write_table(table, path, row_group_size=2048)


def measured(code: str, limit: int | None) -> tuple[float, float]:
    """Seconds of a process, and the gigabytes that it held at its peak besides pages of files."""
    if limit:
        GROUP.mkdir(exist_ok=True)
        (GROUP / "memory.limit_in_bytes").write_text(str(limit * 2**20))
    began, peak = time.perf_counter(), 0.0

    def enter() -> None:
        if limit:
            (GROUP / "cgroup.procs").write_text(str(os.getpid()))

    process = subprocess.Popen([sys.executable, "-c", code], preexec_fn=enter)
    while process.poll() is None:
        try:
            held = psutil.Process(process.pid)
            family = [held, *held.children(recursive=True)]
            now = sum(each.memory_info().rss - each.memory_info().shared for each in family)
            peak = max(peak, now / 2**30)
        except psutil.Error:
            pass
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"ended with {process.returncode}: {code}")
    return time.perf_counter() - began, peak


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--texts", type=int, default=None, help="different texts; as many as items")
    parser.add_argument("--steps", default="prepare,encode")
    parser.add_argument("--folder", type=Path, help="where the table and the cache stay")
    parser.add_argument("--limit", type=int, help="megabytes of a control group")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        shards = folder / f"shards-{given.items}"
        if not shards.exists():
            write_shards(shards, given.items, given.texts or given.items)
        options = [
            "data=hub", f"data.name={shards}", "data.attributes=[colour]", "data.num_workers=0",
            f"paths.cache_dir={folder / 'cache'}", f"paths.output_dir={folder / 'out'}",
            f"catalog.dir={folder / f'catalog-{given.items}'}", "catalog.dtype=float16",
        ]  # fmt: skip
        print(f"{given.items:,} rows, {given.texts or given.items:,} texts, {PHOTOS} photos")
        for step in given.steps.split(","):
            own = [o for o in options if step == "encode" or not o.startswith("catalog.")]
            code = STEPS[step].format(options=", ".join(map(repr, own)))
            seconds, peak = measured(code, given.limit)
            print(
                f"{step:8} {seconds:8.0f} s {given.items / seconds:8.0f} rows/s "
                f"{peak:6.2f} GiB held at its peak",
                flush=True,
            )


if __name__ == "__main__":
    main()
