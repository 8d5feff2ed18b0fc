"""The model of a checkpoint over a session's data, and the catalogs that go with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fashret.catalog.store import Catalog
from fashret.models.checkpoint import learned_digest, with_weights
from fashret.models.retriever import Retriever
from fashret.pipelines.session import Session


def trained(
    session: Session, state: Mapping[str, Tensor], baseline: Catalog
) -> tuple[Retriever, Catalog]:
    """The model of a checkpoint, over the features of the catalog that goes with it.

    Frozen towers share the baseline's catalog. Towers that learned have one of their own, built
    if the cache has none.
    """
    if session.spec.frozen:
        retriever = with_weights(state, Retriever(*baseline.heads), session.spec)
        return retriever.eval().to(session.device), baseline
    catalog = embedding_catalog(session, state, None)
    return Retriever(*catalog.heads).eval().to(session.device), catalog


def embedding_catalog(
    session: Session, state: Mapping[str, Tensor] | None, folder: Path | None
) -> Catalog:
    """The catalog of a model's own embeddings, untrained (no state) or trained.

    Args:
        session: the model and the data.
        state: the learned weights.
        folder: where it is written; None for the cache.
    """

    def load() -> Retriever:
        return Retriever.from_backbone(session.backbone)

    if state is None:
        return session.catalog(session.identity, load, folder=folder)
    identity = learned_identity(session, state)
    if not session.spec.frozen:
        return session.catalog(
            identity, lambda: with_weights(state, load(), session.spec), folder=folder
        )
    base = session.baseline_catalog()
    return session.catalog(
        identity,
        lambda: with_weights(state, Retriever(*base.heads), session.spec),
        base=base,
        folder=folder,
    )


def learned_identity(session: Session, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Cache identity of a trained model: the untrained one's, and the learned weights'."""
    return session.identity | {"learned": learned_digest(state)}
