"""What can be judged: a model as it comes, a run's model, or a catalog as it lies on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.catalog.store import MANIFEST, Catalog, check_embeddings, open_catalog
from fashret.errors import CatalogError, ConfigError
from fashret.evaluation.embed import embed_stored
from fashret.evaluation.ranking import Embedded
from fashret.models.checkpoint import checkpoint_path, read_checkpoint, with_weights
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec
from fashret.pipelines.checkpoints import embedding_catalog, trained
from fashret.pipelines.session import Session, check_attribute_heads


@dataclass(frozen=True)
class System:
    """Something that embeds the items of a data set.

    Attributes:
        name: what reports call it.
        session: of the command, with the model's configuration in it.
        catalog: its features, or its embeddings where there is no model.
        retriever: the model over those features; None for a catalog alone.
        state: the learned weights; None for a model as it comes.
        checkpoint: the file that they were read from, if it was one.
    """

    name: str
    session: Session
    catalog: Catalog
    retriever: Retriever | None
    state: Mapping[str, Tensor] | None = field(default=None, repr=False)
    checkpoint: Path | None = None

    @classmethod
    def untrained(cls, session: Session) -> "System":
        """The model as it comes."""
        catalog = session.baseline_catalog()
        retriever = Retriever(*catalog.heads).eval().to(session.device)
        return cls(f"{session.spec.label} as it comes", session, catalog, retriever)

    @classmethod
    def trained(
        cls,
        name: str,
        session: Session,
        state: Mapping[str, Tensor],
        checkpoint: Path | None = None,
    ) -> "System":
        """The model with the weights of a checkpoint."""
        retriever, catalog = trained(session, state, session.baseline_catalog())
        return cls(name, session, catalog, retriever, state, checkpoint)

    @classmethod
    def named(cls, session: Session, name: str) -> "System":
        """Another run, or a catalog, over the data of a session.

        Raises:
            CatalogError: the catalog is of other items.
            CheckpointError: there is no such run.
        """
        folder = Path(name).expanduser()
        if (folder / MANIFEST).is_file():
            return cls.stored(session, folder)
        path = checkpoint_path(name, "last")
        config, state = read_checkpoint(path)
        spec = ModelSpec.from_config(config, name)
        check_attribute_heads(spec, session.source)
        other = replace(session, spec=spec, options=replace(session.options, model=spec))
        return cls.trained(name, other, state, path)

    @classmethod
    def stored(cls, session: Session, folder: Path) -> "System":
        """A catalog folder.

        Raises:
            CatalogError: it is of other items than the command's data, or its embeddings contain
                NaN or Inf.
        """
        catalog = open_catalog(folder)
        if catalog.manifest["data"] != session.table.key:
            raise CatalogError(
                f"{folder} is a catalog of {catalog.manifest['data']}, data={session.source.name} "
                f"is {session.table.key}: give the data= and the options that it was built with"
            )
        check_embeddings(catalog)
        # Its model may be another than the command's, whose tokenizer then says nothing.
        return cls(str(folder), replace(session, reads_captions=False), catalog, None)

    @property
    def label(self) -> str:
        """The model behind it."""
        return str(self.catalog.manifest["model"])

    @property
    def blocks(self) -> tuple[str, ...]:
        """The attributes that have a block."""
        layout = self.catalog.layout if self.retriever is None else self.retriever.layout
        return layout.attributes

    @cached_property
    def towers(self) -> Retriever:
        """The model with its towers, for texts and photos that are new.

        Raises:
            ConfigError: a catalog, of another model than the command's.
        """
        retriever = Retriever.from_backbone(self.session.backbone)
        if self.state is not None:
            with_weights(self.state, retriever, self.session.spec)
        elif self.retriever is None and self.catalog.manifest["encoder"] != self.session.identity:
            raise ConfigError(
                f"{self.name} was not made by model={self.session.spec.label} as it is, so nothing "
                "new can be asked of it: give the run that it was made from, as run=<run folder>"
            )
        return retriever.eval().requires_grad_(False).to(self.session.device)

    @property
    def embeddings(self) -> Catalog:
        """The catalog of its own embeddings, built if the cache has none."""
        if self.retriever is None:
            return self.catalog
        return embedding_catalog(self.session, self.state, None)

    def embedded(self, rows: NDArray[np.int64]) -> Embedded:
        """The embeddings of rows of the item table, ascending."""
        session = self.session
        if self.retriever is not None:
            return embed_stored(self.retriever, self.catalog, session.table, session.codes, rows)
        here = torch.from_numpy(rows)
        image, text = self.catalog.image[here].float(), self.catalog.text[here].float()
        return Embedded(image.to(session.device), text.to(session.device), self.catalog.layout)
