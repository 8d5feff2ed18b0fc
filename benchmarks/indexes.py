"""Approximate indexes over a million embeddings: recall, speed, bytes and building time.

    python benchmarks/indexes.py [--items 1000000] [--queries 1000]
    python benchmarks/indexes.py --fit <catalog folder>

Embeddings are drawn, since a million real photos are not at hand, but not as isotropic noise, on
which recall says nothing: in clusters of 20 items, with the spectra between and within clusters,
the mean, and the similarity of a text query to its nearest photo that `--fit` found in a catalog of
real photos (`indexes.json`: 19,842 product photos by the shipped model; spectra are stretched to
512 dimensions). Queries are off the data, as texts are.

Ours asks the index for candidates and scores them exactly; theirs is the same index of faiss, asked
for k. All queries are asked at once, with as many threads.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from measure import Options, Row, alternate, benchmark, installed
from numpy.typing import NDArray
from torch import Tensor

from fashret.catalog.ann_index import KINDS, AnnIndex
from fashret.catalog.folder import open_catalog
from fashret.functional.topk import rank_rows, topk

DIM, K, OF_CLUSTER = 512, 10, 20
FITTED = Path(__file__).with_suffix(".json")
CHUNK = 65_536


def fit(folder: Path) -> dict[str, object]:
    """Spectra and similarities of a catalog's embeddings."""
    import faiss

    catalog = open_catalog(folder)
    images, texts = catalog.image[:].float(), catalog.text[:].float()
    means = faiss.Kmeans(images.shape[1], len(images) // OF_CLUSTER, niter=20, seed=0)
    means.train(images.numpy())
    _, nearest = means.index.search(images.numpy(), 1)
    centres = torch.from_numpy(means.centroids)[torch.from_numpy(nearest[:, 0])]
    asked = texts[texts.norm(dim=1) > 0][:2000]
    found = topk(asked, images, 1).scores[:, 0]

    def spectrum(vectors: Tensor) -> list[float]:
        values = torch.linalg.eigvalsh(vectors.T @ vectors / len(vectors)).flip(0).clamp(min=0.0)
        return [float(f"{value:.3g}") for value in values]

    mean = images.mean(dim=0)
    return {
        "model": catalog.manifest["model"],
        "items": len(catalog),
        "mean": round(float(mean.norm()), 4),
        "between": spectrum(centres - mean),
        "within": spectrum(images - centres),
        "query_similarity": round(float(found.median()), 4),
    }


def drawn(items: int, queries: int) -> tuple[Tensor, Tensor]:
    """(items, DIM) and (queries, DIM) unit vectors as `FITTED` describes them."""
    fitted = json.loads(FITTED.read_text())
    generator = torch.Generator().manual_seed(0)
    scales = []
    for name in ("between", "within"):
        known = np.array(fitted[name])
        place = np.linspace(0, len(known) - 1, DIM)
        stretched = np.interp(place, np.arange(len(known)), known) * len(known) / DIM
        scales.append(torch.from_numpy(stretched).float().sqrt())
    basis = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator)).Q
    mean = fitted["mean"] * basis[0]
    centres = torch.randn(-(-items // OF_CLUSTER), DIM, generator=generator) * scales[0]
    made = torch.empty(items, DIM)
    for start in range(0, items, CHUNK):
        count = min(CHUNK, items - start)
        cluster = torch.randint(len(centres), (count,), generator=generator)
        noise = torch.randn(count, DIM, generator=generator) * scales[1]
        part = (centres[cluster] + noise) @ basis + mean
        made[start : start + count] = torch.nn.functional.normalize(part, dim=1)
    # A query is an item and what is said otherwise: a draw between clusters, off the item.
    near = made[torch.randint(items, (queries,), generator=generator)]
    other = torch.randn(queries, DIM, generator=generator) * scales[0] @ basis
    other -= (other * near).sum(dim=1, keepdim=True) * near
    cosine = fitted["query_similarity"]
    aside = (1.0 - cosine**2) ** 0.5
    return made, cosine * near + aside * torch.nn.functional.normalize(other, dim=1)


def recall(found: Tensor, exact: Tensor) -> float:
    """The share of the exact rows that was found."""
    return float((found[:, :, None] == exact[:, None, :]).any(dim=1).double().mean())


def index_rows(kind: str, made: Tensor, asked: Tensor, exact: Tensor, repeats: int) -> Row:
    """Build one index, and ask it with and without exact scores."""
    import faiss

    began = time.perf_counter()
    index = AnnIndex.build(kind, made.numpy())
    seconds = time.perf_counter() - began
    size = len(faiss.serialize_index(index.index)) / 2**20
    vectors: NDArray[np.float32] = asked.numpy()

    def ours() -> Tensor:
        rows = torch.from_numpy(index.candidates(vectors, index.oversample * K))
        return rank_rows(asked, made, rows).rows[:, :K]

    def theirs() -> Tensor:
        return torch.from_numpy(index.candidates(vectors, K))

    ratio = alternate(ours, theirs, repeats)
    rates = [len(asked) / taken for taken in (ratio.ours, ratio.theirs)]
    recalls = [recall(found, exact) for found in ratio.found]
    return Row.of(
        f"{kind}, {len(made):,} x {DIM}, {len(asked):,} queries",
        "the same index of faiss, asked for 10",
        ratio,
        note=f"recall@10 {recalls[0]:.3f} against {recalls[1]:.3f}, "
        f"{rates[0]:,.0f} against {rates[1]:,.0f} queries/s, {size:,.0f} MiB, "
        f"built in {seconds:,.0f} s",
    )


def rows(options: Options) -> Iterator[Row]:
    if options.more.fit:
        FITTED.write_text(json.dumps(fit(Path(options.more.fit))) + "\n")
        print(f"{FITTED} written")
        return
    if not installed("faiss"):
        yield Row("indexes", "faiss", note="not installed")
        return
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    items = options.more.items or (10_000 if options.quick else 100_000)
    made, asked = drawn(items, options.more.queries)
    flat = faiss.IndexFlatIP(DIM)
    flat.add(made.numpy())
    turns = 1 if options.quick else 3
    exact = topk(asked, made, K).rows

    def by_faiss() -> Tensor:
        return torch.from_numpy(flat.search(asked.numpy(), K)[1])

    ratio = alternate(lambda: topk(asked, made, K).rows, by_faiss, turns)
    rates = [len(asked) / taken for taken in (ratio.ours, ratio.theirs)]
    yield Row.of(
        f"exact, {items:,} x {DIM}, {len(asked):,} queries",
        "faiss IndexFlatIP",
        ratio,
        note=f"{rates[0]:,.0f} against {rates[1]:,.0f} queries/s, "
        f"{made.numel() * 4 / 2**20:,.0f} MiB",
    )
    for kind in KINDS:
        yield index_rows(kind, made, asked, exact, turns)


if __name__ == "__main__":
    benchmark(
        rows,
        __doc__,
        ("--items", {"type": int}),
        ("--queries", {"type": int, "default": 1000}),
        ("--fit", {"help": "a catalog folder to fit"}),
    )
