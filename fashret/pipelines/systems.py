"""Systems that can be evaluated: an untrained model, a trained model, or a catalog folder."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.catalog.folder import MANIFEST, Catalog, check_embeddings, open_catalog
from fashret.data.embeddings import is_export
from fashret.errors import CatalogError, CheckpointError, ConfigError
from fashret.evaluation.compression import Compression
from fashret.evaluation.embed import embed_judged, embed_stored
from fashret.evaluation.ranking import SplitEmbeddings
from fashret.evaluation.split_search import SplitSearch
from fashret.models.checkpoint import checkpoint_path, read_checkpoint
from fashret.models.composer import plain_mean
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec
from fashret.pipelines.checkpoints import embedding_catalog, load_trained
from fashret.pipelines.session import Session, check_attribute_heads

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class System:
    """Something that embeds the items of a data set.

    Attributes:
        name: the name of the system in reports.
        session: the session, with the spec of the system's model.
        catalog: the catalog with the features of its towers, or with its embeddings.
        retriever: the heads over those features; None for a catalog alone.
        state: the trained weights; None for an untrained model.
        checkpoint: the file of the trained weights; None if they were not read from a file.
        compression: how its embeddings are made smaller; nothing by default.
    """

    name: str
    session: Session
    catalog: Catalog
    retriever: Retriever | None
    state: Mapping[str, Tensor] | None = field(default=None, repr=False)
    checkpoint: Path | None = None
    compression: Compression = field(default_factory=Compression)

    @classmethod
    def untrained(cls, session: Session) -> "System":
        """The untrained model of a session."""
        catalog = session.baseline_catalog()
        retriever = Retriever(*catalog.heads).eval().to(session.device)
        suffix = " (untrained)" if session.spec.has_towers else ""
        return cls(f"{session.spec.label}{suffix}", session, catalog, retriever)

    @classmethod
    def trained(
        cls,
        name: str,
        session: Session,
        state: Mapping[str, Tensor],
        checkpoint: Path | None = None,
    ) -> "System":
        """The model of a session with trained weights."""
        retriever, catalog = load_trained(session, state, session.baseline_catalog())
        return cls(name, session, catalog, retriever, state, checkpoint)

    @classmethod
    def named(cls, session: Session, name: str) -> "System":
        """The system of a run, a catalog folder or embeddings of others, over a session's data.

        Raises:
            CatalogError: the catalog is of other items.
            CheckpointError: there is no such run.
        """
        folder = Path(name).expanduser()
        if (folder / MANIFEST).is_file():
            return cls.stored(session, folder)
        if is_export(folder):
            return cls.imported(session, name)
        path = checkpoint_path(name, "last")
        config, state = read_checkpoint(path)
        spec = ModelSpec.from_config(config, name)
        check_attribute_heads(spec, session.source)
        other = replace(session, spec=spec, options=replace(session.options, model=spec))
        return cls.trained(name, other, state, path)

    @classmethod
    def stored(cls, session: Session, folder: Path) -> "System":
        """The system of a catalog folder, which has embeddings but no model.

        Raises:
            CatalogError: the catalog is of other items than the session's data, or its embeddings
                contain NaN or Inf.
        """
        catalog = open_catalog(folder)
        if catalog.manifest["data"] != session.table.key:
            raise CatalogError(
                f"{folder} is a catalog of {catalog.manifest['data']}, data={session.source.name} "
                f"is {session.table.key}: give the data= and the options that it was built with"
            )
        check_embeddings(catalog)
        # The session's tokenizer may not be that of the catalog's model.
        return cls(str(folder), replace(session, reads_captions=False), catalog, None)

    @classmethod
    def imported(cls, session: Session, path: str) -> "System":
        """The system of embeddings that others computed; see `read_embeddings`."""
        plain = replace(session.spec, train="heads", attribute_blocks=None, composer=None)
        spec = plain.over_embeddings(path)
        options = replace(session.options, model=spec)
        return cls.untrained(replace(session, spec=spec, options=options))

    @property
    def label(self) -> str:
        """The label of the model behind the embeddings."""
        return str(self.catalog.manifest["model"])

    @property
    def attribute_heads(self) -> tuple[str, ...]:
        """The attributes that have a head."""
        layout = self.catalog.layout if self.retriever is None else self.retriever.layout
        return layout.attributes

    @cached_property
    def towers(self) -> Retriever:
        """The model with its towers, to embed new texts and photos.

        Raises:
            ConfigError: the system is a catalog of another model than the session's.
        """
        if self.state is not None:
            retriever = self.session.trained_towers(self.state)
            return retriever.eval().requires_grad_(False).to(self.session.device)
        if self.retriever is None and self.catalog.manifest["encoder"] != self.session.identity:
            raise ConfigError(
                f"{self.name} was not built by the untrained model={self.session.spec.label}, so "
                "new queries cannot be embedded: give the run that it was built from as "
                "run=<run folder>"
            )
        untrained = Retriever.from_backbone(self.session.backbone)
        return untrained.eval().requires_grad_(False).to(self.session.device)

    @property
    def embeddings(self) -> Catalog:
        """The catalog of the system's embeddings, built if the cache has none."""
        if self.retriever is None:
            return self.catalog
        return embedding_catalog(self.session, self.state, None)

    @torch.inference_mode()
    def compose(self, photos: Tensor, texts: Tensor) -> Tensor:
        """Make composed queries of (Q, D) reference photos and (Q, D) texts, on the CPU."""
        if self.retriever is None:
            return plain_mean(photos, texts)
        # The heads over the catalog of trained towers have no composer of their own.
        model = self.retriever if self.session.spec.frozen else self.towers
        return model.compose(photos.to(model.device), texts.to(model.device)).cpu()

    def embedded_plan(self, plan: SplitSearch) -> SplitEmbeddings:
        """Return the embeddings of the items and the judged queries that an evaluation needs.

        The queries of a catalog whose model cannot be loaded are left out, with a warning.
        """
        return self.compression.apply(self._embedded_plan(plan))

    def _embedded_plan(self, plan: SplitSearch) -> SplitEmbeddings:
        embedded, session = self._embedded(plan.rows), self.session
        if not plan.judged or not session.spec.reads_text:
            return embedded
        retriever = self.retriever
        inputs = {}
        try:
            if retriever is None or not session.spec.frozen:
                retriever = self.towers
            stored = retriever is self.retriever
            for name, judged in plan.judged.items():
                texts = (session.query_features if stored else session.query_tokens)(name)
                inputs[name] = texts[judged.queries.position]
        except (CheckpointError, ConfigError) as e:
            log.warning("the judged queries are not evaluated: %s", e)
            return embedded
        return embed_judged(plan, embedded, retriever, inputs)

    def embedded(self, rows: NDArray[np.int64]) -> SplitEmbeddings:
        """Return the embeddings of rows of the item table, (n,) ascending."""
        return self.compression.apply(self._embedded(rows))

    def compressed(self, compression: Compression) -> "System":
        """Copy the system with smaller embeddings, named by how they are made."""
        if not compression:
            return self
        return replace(self, name=f"{self.name}, {compression}", compression=compression)

    @property
    def whole(self) -> "System":
        """The system with its embeddings as they are."""
        if not self.compression:
            return self
        name = self.name.removesuffix(f", {self.compression}")
        return replace(self, name=name, compression=Compression())

    def _embedded(self, rows: NDArray[np.int64]) -> SplitEmbeddings:
        session = self.session
        if self.retriever is not None:
            return embed_stored(self.retriever, self.catalog, session.table, session.codes, rows)
        row_idx = torch.from_numpy(rows)
        image, text = self.catalog.image[row_idx].float(), self.catalog.text[row_idx].float()
        return SplitEmbeddings(
            image.to(session.device), text.to(session.device), self.catalog.layout
        )
