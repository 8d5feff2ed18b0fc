"""Retrieval evaluation against a bare chunked matmul and top-k over the same tensors.

python benchmarks/evaluation.py

14,218 queries on 12,612 items of 512 dimensions, the size of DeepFashion In-shop. Ours searches
with exact tie-breaking and computes every metric, slice, ceiling and chance, without intervals.
The two alternate; each one's memory is measured in a process of its own.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import normalize

from fashret.functional.retrieval import ceiling, chance, per_query
from fashret.functional.topk import topk
from fashret.metrics.evaluation import _slice_means

QUERIES, ITEMS, DIM, K = 14_218, 12_612, 512, 10
RELEVANCES = 8
"""Product, category and six attributes."""


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    queries = normalize(torch.randn(QUERIES, DIM, generator=generator), dim=1)
    catalog = normalize(torch.randn(ITEMS, DIM, generator=generator), dim=1)
    of_queries = torch.randint(20, (RELEVANCES, QUERIES), generator=generator)
    of_items = torch.randint(20, (RELEVANCES, ITEMS), generator=generator)
    return queries, catalog, of_queries, of_items


def bare(queries: torch.Tensor, catalog: torch.Tensor) -> torch.Tensor:
    return torch.cat([(part @ catalog.T).topk(K).indices for part in queries.split(2048)])


def ours(
    queries: torch.Tensor, catalog: torch.Tensor, of_queries: torch.Tensor, of_items: torch.Tensor
) -> dict[str, float]:
    ranking = topk(queries, catalog, K)
    means = {}
    for number in range(RELEVANCES):
        wanted, held = of_queries[number], of_items[number]
        hits = held[ranking.rows] == wanted[:, None]
        relevant = torch.bincount(held, minlength=20)[wanted]
        distinct, inverse = relevant.unique(return_inverse=True)
        ranked = torch.full_like(distinct, ITEMS)
        for key, values in per_query(hits, relevant, (1, 5, 10)).items():
            name, k = key.split("@")
            means[f"{number}/{key}"] = float(values.nanmean())
            ceiling(name, distinct, int(k))[inverse].nanmean()
            chance(name, distinct, ranked, int(k))[inverse].nanmean()
            if name == "precision":  # the default retrieval.slice_metrics
                slices = _slice_means(values, wanted, [str(value) for value in range(20)])
                means |= {f"{number}/{key}[{value}]": mean for value, mean in slices.items()}
    return means


def resident(field: str) -> float:
    """GB of this process, now (VmRSS) or at the most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 2**20


def peak_memory(what: str) -> float:
    """GB above the tensors' own process."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory", what], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory", choices=["ours", "bare"])
    arguments = parser.parse_args()
    made = tensors()
    if arguments.memory:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = resident("VmRSS")
        ours(*made) if arguments.memory == "ours" else bare(*made[:2])
        print(resident("VmHWM") - before)
        return
    times = []
    for _ in range(arguments.runs + 1):
        start = time.perf_counter()
        bare(*made[:2])
        middle = time.perf_counter()
        ours(*made)
        times.append((middle - start, time.perf_counter() - middle))
    ratios = [b / a for a, b in times[1:]]
    alone, whole = (statistics.median(t[i] for t in times[1:]) for i in (0, 1))
    memory = {what: peak_memory(what) for what in ("ours", "bare")}
    print(f"bare {alone:.2f} s, ours {whole:.2f} s")
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    print(f"GB over the embeddings: ours {memory['ours']:.2f}, bare {memory['bare']:.2f}")


if __name__ == "__main__":
    main()
