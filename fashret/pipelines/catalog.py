"""Build the catalog of a model over a data set."""

from dataclasses import dataclass
from pathlib import Path

from fashret.catalog.store import Catalog, verify
from fashret.models.checkpoint import checkpoint_path, read_checkpoint
from fashret.pipelines.checkpoints import embedding_catalog
from fashret.pipelines.session import Session, SessionOptions


@dataclass(frozen=True, kw_only=True)
class CatalogOptions:
    """Which catalog is built.

    Args:
        session: model and data.
        run: a run folder, whose trained model embeds; None for the model as it is, or `ckpt`.
        ckpt: last, best, or the path of a checkpoint.
        folder: where it is written; None for the cache, under its key.
    """

    session: SessionOptions
    run: str | None = None
    ckpt: str = "last"
    folder: Path | None = None


def build_catalog(options: CatalogOptions) -> Catalog | None:
    """Build one catalog, or find it whole.

    Returns:
        the verified catalog; None in every process but the first.

    Raises:
        FashretError: see its kinds.
    """
    state = None
    if options.run is not None or options.ckpt not in ("last", "best"):
        state = read_checkpoint(checkpoint_path(options.run, options.ckpt))[1]
    session = Session.open(options.session)
    catalog = embedding_catalog(session, state, options.folder)
    if not session.group.keep_rank_zero():
        return None
    verify(catalog)
    return catalog
