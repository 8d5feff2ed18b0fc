"""Build the catalog of a model over a data set."""

from dataclasses import dataclass
from pathlib import Path

from fashret.catalog.folder import Catalog, verify
from fashret.models.checkpoint import checkpoint_path, read_checkpoint
from fashret.pipelines.checkpoints import embedding_catalog
from fashret.pipelines.session import Session, SessionOptions


@dataclass(frozen=True, kw_only=True)
class CatalogOptions:
    """Options of a catalog build.

    Args:
        session: the model and the data.
        run: the run folder of a trained model; None for the untrained model, or that of `ckpt`.
        ckpt: last, best, or the path of a checkpoint.
        folder: the folder to write; None for the cache, under the catalog's key.
    """

    session: SessionOptions
    run: str | None = None
    ckpt: str = "last"
    folder: Path | None = None


def build_catalog(options: CatalogOptions) -> Catalog | None:
    """Build a catalog, or open it if it exists.

    Returns:
        The verified catalog; None in every process but that with rank 0.

    Raises:
        FashretError: see `fashret.errors`.
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
