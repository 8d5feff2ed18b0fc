"""Build the catalog of a model over a data set."""

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fashret.catalog.ann_index import KINDS, ensure_index, with_index, without_index
from fashret.catalog.contents import Part
from fashret.catalog.folder import Catalog, verify
from fashret.catalog.milvus import LOCAL, MilvusCatalog
from fashret.catalog.shards import write_shards
from fashret.data.embeddings import is_export
from fashret.errors import ConfigError
from fashret.models.checkpoint import checkpoint_path, read_checkpoint
from fashret.pipelines.checkpoints import embedding_catalog, encode_features
from fashret.pipelines.session import Session, SessionOptions

log = logging.getLogger(__name__)

EXACT, MILVUS = "exact", "milvus"


@dataclass(frozen=True, kw_only=True)
class CatalogOptions:
    """Options of a catalog build.

    Args:
        session: the model and the data.
        run: the run folder of a trained model; None for the untrained model, or that of `ckpt`.
        ckpt: last, best, or the path of a checkpoint.
        folder: the folder to write; None for the cache, under the catalog's key.
        index: what searches the catalog: exact, hnsw, ivfpq, int8, binary or milvus; None for
            what the folder has, exact at first.
        uri: where Milvus is: a file, or the address of a server; None for `milvus.db` in the
            folder.
        part: a range of hashes such as 3/16: its photos and texts are encoded and stored, and no
            catalog is built; None for all.
        parquet: a folder for the items and embeddings as shards of parquet; None for none.
    """

    session: SessionOptions
    run: str | None = None
    ckpt: str = "last"
    folder: Path | None = None
    index: str | None = None
    uri: str | None = None
    part: str | None = None
    parquet: Path | None = None

    def __post_init__(self) -> None:
        if self.index not in (None, EXACT, MILVUS, *KINDS):
            raise ConfigError(
                f"catalog.index={self.index}: must be {EXACT}, {', '.join(KINDS)} or {MILVUS}"
            )
        package, extra = ("pymilvus", "milvus") if self.index == MILVUS else ("faiss", "index")
        if self.index not in (None, EXACT) and find_spec(package) is None:
            raise ConfigError(
                f"catalog.index={self.index} needs another package ({package}): "
                f'pip install "fashret[{extra}]", or catalog.index={EXACT}'
            )
        if self.part is not None:
            Part.parse(self.part)
            if self.session.source.embeddings is not None:
                raise ConfigError(f"catalog.part={self.part}: embeddings of others are not encoded")
        if self.run is not None and is_export(self.run):
            raise ConfigError(f"run={self.run} are embeddings: give data.embeddings={self.run}")


def build_catalog(options: CatalogOptions) -> Catalog | None:
    """Build a catalog, or open it if it exists.

    Returns:
        The verified catalog; None in every process but that with rank 0, and where a part of the
        features is encoded alone.

    Raises:
        FashretError: see `fashret.errors`.
    """
    state = None
    if options.run is not None or options.ckpt not in ("last", "best"):
        state = read_checkpoint(checkpoint_path(options.run, options.ckpt))[1]
    session = Session.open(options.session)
    if options.part is not None:
        if session.group.world_size > 1:
            raise ConfigError("catalog.part is for jobs of one process: give trainer.devices=1")
        missing = encode_features(session, state, Part.parse(options.part))
        log.info(
            "part %s: %d photos and %d texts encoded; when all parts are done, the same command "
            "without catalog.part builds the catalog",
            options.part,
            len(missing.photos),
            len(missing.captions),
        )
        return None
    catalog = embedding_catalog(session, state, options.folder)
    if not session.group.keep_rank_zero():
        return None
    verify(catalog)
    catalog = _indexed(catalog, options)
    if options.parquet is not None:
        shards = write_shards(catalog, options.parquet)
        log.info("%d shards of parquet: %s", len(shards), options.parquet)
    return catalog


def _indexed(catalog: Catalog, options: CatalogOptions) -> Catalog:
    """Build the index that is asked for, or that the catalog had before it was updated."""
    known = catalog.manifest.get("index") or {}
    kind = options.index or known.get("kind", EXACT)
    if kind == EXACT:
        return without_index(catalog)
    if kind != MILVUS:
        return ensure_index(catalog, kind)
    uri = options.uri or known.get("uri") or LOCAL
    if (known.get("kind"), known.get("uri"), known.get("version")) == (kind, uri, catalog.version):
        return catalog
    engine = MilvusCatalog(
        str(catalog.folder / LOCAL) if uri == LOCAL else uri, catalog.folder.name
    )
    try:
        collection = engine.push(catalog)
        about = {"kind": kind, "uri": uri, "alias": engine.alias, "collection": collection}
        return with_index(catalog, about, engine)
    finally:
        engine.close()
