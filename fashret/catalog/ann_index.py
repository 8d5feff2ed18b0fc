"""An approximate index over a catalog's photo embeddings, by faiss, and what it costs in recall.

An index proposes candidates; the scores and the order of what is shown are exact, computed from
the catalog's own embeddings. Kinds: `hnsw` (Malkov and Yashunin, 2018), `ivfpq` (Jegou et al.,
2011), `int8` (scalar quantisation, searched in full) and `binary` (RaBitQ, one bit a dimension
after a rotation, searched in full: Gao and Long, 2024).
"""

import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fashret.catalog.folder import MANIFEST, Catalog
from fashret.errors import CatalogError, ConfigError
from fashret.functional.topk import topk

log = logging.getLogger(__name__)

KINDS = ("hnsw", "ivfpq", "int8", "binary")

INDEX = "index.faiss"

_OVERSAMPLE = {"hnsw": 10, "ivfpq": 20, "int8": 10, "binary": 40}
"""Candidates for each hit that is asked for; they are scored exactly."""

_NEIGHBOURS = 32
_EF_CONSTRUCTION, _EF_SEARCH = 200, 128
"""HNSW: edges of a node, and the lengths of the lists of candidates."""

_PROBES = 32
"""IVF: lists that are searched."""

_EXAMPLES = 39
"""Embeddings that faiss wants to learn each list or word from."""

_TRAINED_ON = 200_000
"""Embeddings that quantisers are trained on, at most."""

_ADDED = 65_536
"""Embeddings added at a time."""

_QUERIES = 500
"""Queries that recall and speed are measured on, at most."""

_K = 10


@dataclass(frozen=True)
class AnnIndex:
    """An index that proposes rows of a catalog for a query.

    Attributes:
        kind: one of `KINDS`.
        index: the index of faiss.
    """

    kind: str
    index: Any

    @property
    def oversample(self) -> int:
        """Candidates that are worth an exact score for each hit."""
        return _OVERSAMPLE[self.kind]

    @classmethod
    def build(cls, kind: str, embeddings: NDArray[np.floating[Any]]) -> "AnnIndex":
        """Build an index.

        Args:
            kind: one of `KINDS`.
            embeddings: (N, D) unit vectors.

        Raises:
            ConfigError: there is no such kind, D does not suit it, or faiss is not installed.
        """
        if kind not in KINDS:
            raise ConfigError(f"catalog.index={kind}: must be exact, {', '.join(KINDS)} or milvus")
        faiss = _faiss()
        count, dim = embeddings.shape
        lists = max(1, min(int(4 * math.sqrt(count)), count // _EXAMPLES))
        parts = next(n for n in (dim // 4, dim // 8, dim // 16, 1) if n and dim % n == 0)
        bits = 8 if count >= _EXAMPLES * 2**8 else 4
        factory = {
            "hnsw": f"HNSW{_NEIGHBOURS},Flat",
            "ivfpq": f"IVF{lists},PQ{parts}x{bits}",
            "int8": "SQ8",
            "binary": f"RR{dim},RaBitQ",
        }
        if kind == "ivfpq" and count < 2**bits:
            raise ConfigError(
                f"catalog.index=ivfpq: {count} items are too few to learn words from; use int8"
            )
        index = faiss.index_factory(dim, factory[kind], faiss.METRIC_INNER_PRODUCT)
        if kind == "hnsw":
            index.hnsw.efConstruction = _EF_CONSTRUCTION
        chosen = np.sort(np.random.default_rng(0).permutation(count)[:_TRAINED_ON])
        index.train(np.asarray(embeddings[chosen], dtype=np.float32))
        for start in range(0, count, _ADDED):
            index.add(np.asarray(embeddings[start : start + _ADDED], dtype=np.float32))
        return cls(kind, index)._tuned()

    @classmethod
    def open(cls, folder: Path, kind: str) -> "AnnIndex":
        """Open the index of a catalog's files.

        Raises:
            CatalogError: it cannot be read.
            ConfigError: faiss is not installed.
        """
        faiss = _faiss()
        try:
            return cls(kind, faiss.read_index(str(folder / INDEX)))._tuned()
        except (RuntimeError, OSError, ValueError) as e:
            raise CatalogError(
                f"{folder / INDEX} cannot be read: {str(e)[:200]}; build it again with "
                f"build_catalog.py catalog.index={kind}"
            ) from e

    def save(self, folder: Path) -> None:
        """Write the index beside a catalog's files."""
        faiss = _faiss()
        draft = folder / f"{INDEX}.new"
        faiss.write_index(self.index, str(draft))
        draft.replace(folder / INDEX)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def candidates(self, queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Propose rows for queries.

        Args:
            queries: (Q, D) query embeddings, of any length.
            count: the number of candidates, at least 1.

        Returns:
            (Q, count) rows, the likely best first; -1 where the index found fewer.
        """
        count = min(count, len(self))
        if self.kind == "hnsw":
            self.index.hnsw.efSearch = max(_EF_SEARCH, count)
        _, rows = self.index.search(np.ascontiguousarray(queries), count)
        found: NDArray[np.int64] = rows
        return found

    def _tuned(self) -> "AnnIndex":
        if self.kind == "ivfpq":
            self.index.nprobe = min(_PROBES, self.index.nlist)
        return self


class CandidateSource(Protocol):
    """What proposes rows of a catalog for a query: an index of faiss, or Milvus."""

    @property
    def oversample(self) -> int:
        """Candidates that are worth an exact score for each hit."""
        ...

    def candidates(self, queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Propose rows for (Q, D) queries: (Q, count), the likely best first, -1 for none."""
        ...


def ensure_index(catalog: Catalog, kind: str) -> Catalog:
    """Build a catalog's index, unless it has it, and write its recall, size and speed.

    Args:
        catalog: the catalog.
        kind: one of `KINDS`.

    Returns:
        The catalog with the index in its manifest, see `with_index`.

    Raises:
        ConfigError: see `AnnIndex.build`.
    """
    if index_kind(catalog) == kind:
        return catalog
    log.info("building the index %s of %d items", kind, len(catalog))
    began = time.monotonic()
    index = AnnIndex.build(kind, catalog.image.numpy())
    seconds = time.monotonic() - began
    index.save(catalog.files)
    size = (catalog.files / INDEX).stat().st_size
    about = {"kind": kind, "bytes": size, "build_seconds": round(seconds, 2)}
    return with_index(catalog, about, index)


def index_kind(catalog: Catalog) -> str | None:
    """Return the kind of the index of faiss that a catalog has; None without one that is whole."""
    known = catalog.manifest.get("index") or {}
    whole = known.get("version") == catalog.version and (catalog.files / INDEX).is_file()
    return str(known["kind"]) if whole and known.get("kind") in KINDS else None


def with_index(catalog: Catalog, about: Mapping[str, Any], index: CandidateSource) -> Catalog:
    """Measure an index, and write what is known of it into the catalog's manifest.

    The manifest has, beside what is given: `version`, the catalog's; `recall` at 10 against the
    exact search, by the kind of query; `queries`, their numbers; `ms_per_query` and
    `ms_per_query_exact`, one query at a time; and `bytes_exact`, of the embeddings.
    """
    entry = {
        **about,
        "version": catalog.version,
        **measure(index, catalog),
        "bytes_exact": catalog.image.numel() * catalog.image.element_size(),
    }
    manifest = {**catalog.manifest, "index": entry}
    draft = catalog.folder / f"{MANIFEST}.new"
    draft.write_text(json.dumps(manifest, indent=2, default=str))
    draft.replace(catalog.folder / MANIFEST)
    return Catalog(catalog.folder, manifest, catalog.features)


def measure(index: CandidateSource, catalog: Catalog) -> dict[str, Any]:
    """Measure recall at 10 and milliseconds of a query, candidates scored exactly, on a sample.

    Queries are texts of the catalog's items, which are no points of the index, and photos, which
    are: those count without themselves.
    """
    rng = np.random.default_rng(0)
    with_text = np.flatnonzero(catalog.text.norm(dim=1).numpy() > 0)
    recall, spent, counts = {}, [0.0, 0.0], {}
    for kind, rows, embeddings in (
        ("text", with_text, catalog.text),
        ("photo", np.arange(len(catalog)), catalog.image),
    ):
        chosen = np.sort(rng.permutation(rows)[:_QUERIES])
        if not len(chosen):
            continue
        found = 0
        k = min(_K + (kind == "photo"), len(catalog))
        gallery = catalog.image.float()
        for row in chosen:
            query = embeddings[int(row)][None].float()
            start = time.perf_counter()
            exact = topk(query, gallery, k).rows[0].tolist()
            middle = time.perf_counter()
            near = rescored(index, query, gallery, k)
            spent[0] += middle - start
            spent[1] += time.perf_counter() - middle
            found += len((set(exact) & set(near)) - {int(row) if kind == "photo" else -1})
        recall[kind] = round(found / (len(chosen) * max(1, k - (kind == "photo"))), 4)
        counts[kind] = len(chosen)
    total = max(1, sum(counts.values()))
    return {
        "recall": recall,
        "queries": counts,
        "ms_per_query": round(1000 * spent[1] / total, 3),
        "ms_per_query_exact": round(1000 * spent[0] / total, 3),
    }


def rescored(
    index: CandidateSource, query: torch.Tensor, gallery: torch.Tensor, k: int
) -> list[int]:
    """Return the k best rows among the candidates of a query, (1, D), by their exact scores."""
    rows = index.candidates(query.numpy(), index.oversample * k)[0]
    rows = np.sort(rows[rows >= 0])
    best = topk(query, gallery[torch.from_numpy(rows)], min(k, len(rows))).rows[0]
    return [int(rows[position]) for position in best.tolist()]


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as e:
        raise ConfigError(
            'an approximate index needs another package (faiss): pip install "fashret[index]", or '
            "catalog.index=exact"
        ) from e
    return faiss
