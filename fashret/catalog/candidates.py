"""The rows of a catalog that are worth an exact score for a query, by the catalog's index."""

import logging

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fashret.catalog.ann_index import AnnIndex, CandidateSource, index_kind
from fashret.catalog.folder import Catalog
from fashret.catalog.milvus import LOCAL, MilvusCatalog
from fashret.errors import CatalogError, ConfigError

log = logging.getLogger(__name__)

_EXACT_SHARE = 0.05
"""Where a filter leaves a smaller share of the items, all of them are scored."""


def candidate_source(catalog: Catalog) -> CandidateSource | None:
    """Open the index that a catalog was built with; None for the exact search.

    A folder may be a stranger's: it opens no connection, and no file outside of it.
    """
    known = catalog.manifest.get("index") or {}
    try:
        if kind := index_kind(catalog):
            return AnnIndex.open(catalog, kind)
        if known.get("kind") != "milvus" or known.get("version") != catalog.version:
            return None
        path = catalog.folder / LOCAL
        if known.get("uri") == LOCAL and path.exists():
            engine = MilvusCatalog(str(path), str(known["alias"]))
            if engine.current() == known.get("collection"):
                return engine
    except (CatalogError, ConfigError) as e:
        log.warning("%s is searched exactly, without its index: %s", catalog.folder, e)
        return None
    log.info(
        "%s is in Milvus too; here it is searched exactly. To search there: "
        "fashret.catalog.milvus.MilvusCatalog",
        catalog.folder,
    )
    return None


def likely_rows(
    source: CandidateSource,
    query: Tensor,
    rows: NDArray[np.int64],
    total: int,
    k: int,
    units: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Reduce rows to candidates that are worth an exact score for a query.

    Few rows, as a filter leaves them, are all scored: that is quick, and misses nothing.

    Args:
        source: what proposes candidates.
        query: (1, D) embedding of the query.
        rows: (n,) rows that may be found, ascending.
        total: the number of rows of the catalog.
        k: the number of hits that are wanted.
        units: (total,) number of each row's product, where k products are wanted; None for items.

    Returns:
        Some of `rows`, ascending: at least k items, or items of k products, if there are so many.
    """
    share = len(rows) / total
    if share < _EXACT_SHARE:
        return rows
    allowed = None
    if len(rows) < total:
        allowed = np.zeros(total, dtype=bool)
        allowed[rows] = True
    count = int(source.oversample * k / share)
    while count < total:
        near = source.candidates(query.float().cpu().numpy(), count)[0]
        near = near[near >= 0]
        if allowed is not None:
            near = near[allowed[near]]
        if (len(near) if units is None else len(np.unique(units[near]))) >= k:
            return np.sort(near)
        count *= 4
    return rows
