"""An approximate index over a catalog's photo embeddings, by faiss, and what it costs in recall.

An index proposes candidates; the scores and the order of what is shown are exact, computed from
the catalog's own embeddings. Kinds: `hnsw` (Malkov and Yashunin, 2018), `ivfpq` (Jegou et al.,
2011), `int8` (scalar quantisation, searched in full) and `binary` (RaBitQ, one bit a dimension
after a rotation, searched in full: Gao and Long, 2024).
"""

import logging
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fashret.catalog.folder import Catalog, checksum, read_manifest, write_manifest
from fashret.errors import CatalogError, ConfigError
from fashret.file_lock import file_lock
from fashret.functional.similarity import Vectors
from fashret.functional.topk import topk

log = logging.getLogger(__name__)

KINDS = ("hnsw", "ivfpq", "int8", "binary")

_TYPES = {"hnsw": (b"IHNf", b"IHN2"), "ivfpq": (b"IwPQ",), "int8": (b"IxSQ",), "binary": (b"IxPT",)}
"""The first bytes of the files that faiss writes of each kind."""

_OVERSAMPLE = {"hnsw": 2, "ivfpq": 20, "int8": 10, "binary": 40}
"""Candidates for each hit that is asked for; they are scored exactly. HNSW's own scores are."""

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

_TIMED = 50
"""Queries of each kind that are timed, one at a time."""

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
    def open(cls, catalog: Catalog, kind: str) -> "AnnIndex":
        """Open the index of a catalog.

        Raises:
            CatalogError: it cannot be read, or is not of the catalog.
            ConfigError: faiss is not installed.
        """
        faiss, path = _faiss(), index_file(catalog, kind)
        advice = f"build it again with build_catalog.py catalog.index={kind}"
        try:
            with path.open("rb") as file:
                if file.read(4) not in _TYPES[kind]:
                    raise CatalogError(f"{path} is no index of the kind {kind}: {advice}")
            index = faiss.read_index(str(path))
        except (RuntimeError, OSError, ValueError) as e:
            raise CatalogError(f"{path} cannot be read: {str(e)[:200]}; {advice}") from e
        if (index.ntotal, index.d) != tuple(catalog.image.shape):
            raise CatalogError(
                f"{path} is of {index.ntotal} x {index.d} embeddings, the catalog of "
                f"{' x '.join(map(str, catalog.image.shape))}: {advice}"
            )
        return cls(kind, index)._tuned()

    def save(self, path: Path) -> None:
        """Write the index to a file."""
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        _faiss().write_index(self.index, str(draft))
        draft.replace(path)

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
    path = index_file(catalog, kind)
    index.save(path)
    about = {
        "kind": kind,
        "bytes": path.stat().st_size,
        "sha256": checksum(path),
        "build_seconds": round(seconds, 2),
    }
    return with_index(catalog, about, index)


def index_file(catalog: Catalog, kind: str) -> Path:
    """Return the path of a catalog's index of a kind."""
    return catalog.files / f"index-{kind}.faiss"


def index_kind(catalog: Catalog) -> str | None:
    """Return the kind of the index of faiss that a catalog has; None without one that is whole."""
    known = catalog.manifest.get("index") or {}
    kind = known.get("kind")
    if kind not in KINDS or known.get("version") != catalog.version:
        return None
    path = index_file(catalog, kind)
    is_whole = path.is_file() and path.stat().st_size == known.get("bytes")
    return str(kind) if is_whole else None


def with_index(catalog: Catalog, about: Mapping[str, Any], index: CandidateSource) -> Catalog:
    """Measure an index, and write what is known of it into the catalog's manifest.

    The manifest has, beside what is given: `version`, the catalog's; `recall` at 10 against the
    exact search, by the kind of query; `queries`, their numbers; `ms_per_query` and
    `ms_per_query_exact`, one query at a time; and `bytes_exact`, of the embeddings. Nothing is
    written if the catalog was updated meanwhile.
    """
    entry = {
        **about,
        "version": catalog.version,
        **measure(index, catalog),
        "bytes_exact": catalog.image.numel() * catalog.image.element_size(),
    }
    return _with_entry(catalog, entry)


def without_index(catalog: Catalog) -> Catalog:
    """Remove a catalog's index: it is searched exactly."""
    if not catalog.manifest.get("index"):
        return catalog
    for path in catalog.files.glob("index-*.faiss"):
        path.unlink()
    return _with_entry(catalog, None)


def _with_entry(catalog: Catalog, entry: Mapping[str, Any] | None) -> Catalog:
    """Write what is known of the index, unless another process has updated the catalog."""
    with file_lock(f"{catalog.folder}.lock", f"the catalog {catalog.folder.name}"):
        current = read_manifest(catalog.folder)
        if (current["key"], current.get("version")) != (
            catalog.manifest["key"],
            catalog.manifest.get("version"),
        ):
            log.warning(
                "%s was updated while its index was built: build the index again", catalog.folder
            )
            return catalog
        manifest = {**current, "index": entry}
        write_manifest(catalog.folder, manifest)
    return catalog.changed(manifest=manifest)


def measure(index: CandidateSource, catalog: Catalog) -> dict[str, Any]:
    """Measure recall at 10 and milliseconds of a query, candidates scored exactly, on a sample.

    Queries are texts of the catalog's items, which are no points of the index, and photos, which
    are: those count without themselves.
    """
    rng = np.random.default_rng(0)
    gallery: Vectors = catalog.image
    some = torch.from_numpy(np.sort(rng.permutation(len(catalog))[: 4 * _QUERIES]))
    with_text = some[catalog.text[some].norm(dim=1) > 0][:_QUERIES]
    recall, counts, spent = {}, {}, [0.0, 0.0]
    for kind, rows, embeddings in (
        ("text", with_text, catalog.text),
        ("photo", some[:_QUERIES], catalog.image),
    ):
        if not len(rows):
            continue
        queries = embeddings[rows].float()
        # A photo finds itself: it asks for one more, which is not counted.
        own = int(kind == "photo")
        k = min(_K + own, len(catalog))
        exact = topk(queries, gallery, k).rows.tolist()
        found = 0
        for number, row in enumerate(rows.tolist()):
            query = queries[number : number + 1]
            start = time.perf_counter()
            near = rescored(index, query, gallery, k)
            if number < _TIMED:
                spent[0] += time.perf_counter() - start
                start = time.perf_counter()
                topk(query, gallery, k)
                spent[1] += time.perf_counter() - start
            found += len((set(exact[number]) & set(near)) - ({row} if own else set()))
        recall[kind] = round(found / (len(rows) * max(1, k - own)), 4)
        counts[kind] = len(rows)
    timed = max(1, sum(min(_TIMED, count) for count in counts.values()))
    return {
        "recall": recall,
        "queries": counts,
        "ms_per_query": round(1000 * spent[0] / timed, 3),
        "ms_per_query_exact": round(1000 * spent[1] / timed, 3),
    }


def rescored(index: CandidateSource, query: torch.Tensor, gallery: Vectors, k: int) -> list[int]:
    """Return the k best rows among the candidates of a query, (1, D), by their exact scores."""
    rows = index.candidates(query.numpy(), index.oversample * k)[0]
    rows = np.sort(rows[rows >= 0])
    best = topk(query, gallery[torch.from_numpy(rows)].float(), min(k, len(rows))).rows[0]
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
