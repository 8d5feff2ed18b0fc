"""Load the model of a checkpoint, and build the catalogs of trained models."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from fashret.catalog.build import encode_part
from fashret.catalog.contents import Missing, Part
from fashret.catalog.folder import Catalog
from fashret.models.checkpoint import learned_digest, with_weights
from fashret.models.retriever import Retriever
from fashret.pipelines.session import Session


def load_trained(
    session: Session, state: Mapping[str, Tensor], baseline: Catalog
) -> tuple[Retriever, Catalog]:
    """Load a trained model, and the catalog with the features of its towers.

    Frozen towers share the baseline's catalog. Trained towers have their own, which is built if the
    cache has none.

    Args:
        session: the model's spec and the data.
        state: the trained weights of a checkpoint.
        baseline: the catalog of the untrained model.

    Returns:
        The heads over stored features, in eval mode; and the catalog with these features.
    """
    if session.spec.frozen:
        retriever = with_weights(state, Retriever(*baseline.heads), session.spec)
        return retriever.eval().to(session.device), baseline
    catalog = embedding_catalog(session, state, None)
    return Retriever(*catalog.heads).eval().to(session.device), catalog


def embedding_catalog(
    session: Session, state: Mapping[str, Tensor] | None, folder: Path | None
) -> Catalog:
    """Open or build the catalog of a model's embeddings.

    Args:
        session: the model and the data.
        state: the trained weights; None for the untrained model.
        folder: the folder to write; None for the cache.
    """
    if state is None:
        return session.baseline_catalog(folder)
    identity = learned_identity(session, state)
    if not session.spec.frozen:
        return session.catalog(identity, lambda: session.trained_towers(state), folder=folder)
    base = session.baseline_catalog()
    return session.catalog(
        identity,
        lambda: with_weights(state, Retriever(*base.heads), session.spec),
        features={"image": base.image_features, "text": base.text_features},
        preprocess=base.manifest["preprocess"],
        folder=folder,
    )


def encode_features(session: Session, state: Mapping[str, Tensor] | None, part: Part) -> Missing:
    """Encode one part of the data with a model's towers, see `encode_part`.

    Args:
        session: the model and the data.
        state: the trained weights; None for the untrained model.
        part: the part.

    Returns:
        What was encoded.
    """
    identity, load = session.identity, session.untrained
    if state is not None and not session.spec.frozen:
        identity = learned_identity(session, state)
        load = partial(session.trained_towers, state)
    return encode_part(
        session.table,
        identity,
        load,
        session.cache_dir,
        part,
        label=session.spec.label,
        dtype=session.options.catalog_dtype,
        device=session.device,
        num_workers=session.source.workers,
    )


def learned_identity(session: Session, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the cache identity of a trained model: that of the untrained one, and its weights'."""
    return session.identity | {"learned": learned_digest(state)}
