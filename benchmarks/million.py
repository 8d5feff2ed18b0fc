"""Exact search and evaluation over a million embeddings that lie on disk.

    python benchmarks/million.py [items] [queries]

1,000,000 x 512 drawn embeddings in single precision (2 GB), 1,000 queries, k = 10, with hits and
every metric for a relevance of 200 values. Prints time and memory of ours, and time of a bare
chunked matmul and top-k over the same file.
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from fashret.functional.topk import topk
from fashret.protocols.relevance import Equal
from fashret.protocols.task import Outcome, Task

DIM, K, CHUNK, VALUES = 512, 10, 16_384, 200


class OnDisk:
    """Rows of a .npy file as tensors."""

    def __init__(self, path: Path) -> None:
        self.array = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: slice | torch.Tensor) -> torch.Tensor:
        place = rows if isinstance(rows, slice) else rows.numpy()
        return torch.from_numpy(np.array(self.array[place]))


def drawn(path: Path, items: int) -> None:
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(items, DIM))
    generator = torch.Generator().manual_seed(0)
    for start in range(0, items, CHUNK):
        part = normalize(torch.randn(min(CHUNK, items - start), DIM, generator=generator), dim=1)
        array[start : start + len(part)] = part.numpy()
    array.flush()


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


def main(items: int, asked: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "catalog.npy")
        drawn(path, items)
        catalog = OnDisk(path)
        generator = torch.Generator().manual_seed(1)
        queries = normalize(torch.randn(asked, DIM, generator=generator), dim=1)
        of_query = torch.randint(VALUES, (asked,), generator=generator)
        of_item = torch.randint(VALUES, (items,), generator=generator)

        start = time.perf_counter()
        best = torch.empty(asked, 0)
        for first in range(0, items, CHUNK):
            scores = queries @ catalog[first : first + CHUNK].T
            best = torch.cat([best, scores.topk(K).values], dim=1).topk(K).values
        bare = time.perf_counter() - start

        memory = Memory()
        start = time.perf_counter()
        ranking = topk(queries, catalog, K)
        search = time.perf_counter() - start
        assert torch.allclose(ranking.scores.float(), best, atol=1e-5)

        metrics = [
            f"{m}@{k}" for m in ("hit", "recall", "precision", "mrr", "ndcg") for k in (1, 10)
        ]
        names = [str(row) for row in range(asked)]
        start = time.perf_counter()
        task = Task("all", queries, catalog, names, [], Equal(of_query, of_item), metrics)
        Outcome.of(task).results(resamples=10_000, seed=0)
        judged = time.perf_counter() - start
        size = path.stat().st_size / 2**30
        print(
            f"{items:,} x {DIM} ({size:.1f} GiB on disk), {asked:,} queries, {os.cpu_count()} cores"
        )
        print(f"bare matmul and top-k            {bare:7.1f} s")
        print(f"search                           {search:7.1f} s, {search / bare:.2f} of bare")
        print(f"search, metrics and intervals    {judged:7.1f} s, {judged / bare:.2f} of bare")
        print(f"memory at the most, besides pages of the file: {memory.peak:.2f} GiB")
        print(f"of which before the search                     {memory.before:.2f} GiB")


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [1_000_000, 1_000][len(given) :]))
