"""Exact search and evaluation over a million embeddings that lie on disk.

    python benchmarks/million.py [--items N] [--queries N]

1,000,000 x 512 drawn embeddings in single precision (2 GB), 1,000 queries, k = 10, with hits and
every metric for a relevance of 200 values, against a bare chunked matmul and top-k over the same
file. The scores that both find must be equal.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import drawn
import numpy as np
import torch
from measure import Options, Row, alternate, benchmark
from torch import Tensor
from torch.nn.functional import normalize

from fashret.functional.topk import topk

DIM, K, CHUNK, VALUES = 512, 10, 16_384, 200
METRICS = [f"{m}@{k}" for m in ("hit", "recall", "precision", "mrr", "ndcg") for k in (1, 10)]


class OnDisk:
    """Rows of a .npy file as tensors."""

    def __init__(self, path: Path) -> None:
        self.array = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        place = rows if isinstance(rows, slice) else rows.numpy()
        return torch.from_numpy(np.array(self.array[place]))


def written(path: Path, items: int) -> OnDisk:
    """A catalog on disk."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(items, DIM))
    generator = torch.Generator().manual_seed(0)
    for start in range(0, items, CHUNK):
        part = normalize(torch.randn(min(CHUNK, items - start), DIM, generator=generator), dim=1)
        array[start : start + len(part)] = part.numpy()
    array.flush()
    return OnDisk(path)


class Memory(threading.Thread):
    """Watches what this process holds besides pages of files, in GiB, every 10 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.peak = self.now()
        self.start()

    @staticmethod
    def now() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 2**20

    def run(self) -> None:
        while True:
            self.peak = max(self.peak, self.now())
            time.sleep(0.01)


def rows(options: Options) -> Iterator[Row]:
    asked = options.more.queries
    items = options.more.items or (50_000 if options.quick else 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "catalog.npy")
        catalog = written(path, items)
        generator = torch.Generator().manual_seed(1)
        queries = normalize(torch.randn(asked, DIM, generator=generator), dim=1)
        of_query = torch.randint(VALUES, (asked,), generator=generator)
        of_item = torch.randint(VALUES, (items,), generator=generator)

        def bare() -> Tensor:
            best = torch.empty(asked, 0)
            for first in range(0, items, CHUNK):
                scores = queries @ catalog[first : first + CHUNK].T
                best = torch.cat([best, scores.topk(K).values], dim=1).topk(K).values
            return best

        def evaluated() -> Tensor:
            ranking = topk(queries, catalog, K)
            drawn.evaluation(ranking, of_query, of_item, METRICS).results()
            return ranking.scores

        memory = Memory()
        size = f"{items:,} x {DIM} on disk, {asked:,} queries"
        steps = {
            f"search, {size}": lambda: topk(queries, catalog, K).scores,
            f"search, metrics and intervals, {size}": evaluated,
        }
        for what, ours in steps.items():
            ratio = alternate(ours, bare, 1 if options.quick else 2)
            assert torch.allclose(ratio.found[0].float(), ratio.found[1], atol=1e-5)
            note = f"{memory.peak:.2f} GiB at the most besides pages of the file, of which "
            note += f"{memory.before:.2f} before"
            yield Row.of(what, "bare matmul and top-k", ratio, note=note)


if __name__ == "__main__":
    benchmark(
        rows,
        __doc__,
        ("--items", {"type": int}),
        ("--queries", {"type": int, "default": 1000}),
    )
