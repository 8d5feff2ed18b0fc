"""What can be judged: a model as it comes, a run's model, or a catalog as it lies on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from fashret.catalog.store import MANIFEST, Catalog, check_embeddings, open_catalog
from fashret.errors import CatalogError, ConfigError
from fashret.evaluation.embed import embed_stored
from fashret.evaluation.ranking import Embedded
from fashret.evaluation.split_search import Protocol
from fashret.models.retriever import Retriever
from fashret.pipelines.checkpoints import (
    checkpoint_path,
    embedding_catalog,
    named_checkpoint,
    of_run,
    trained,
    with_weights,
)
from fashret.pipelines.session import Setup, check_weights


@dataclass(frozen=True)
class System:
    """Something that embeds the items of a data set.

    Attributes:
        name: what reports call it.
        setup: of the command, with the model's configuration in it.
        catalog: its features, or its embeddings where there is no model.
        retriever: the model over those features; None for a catalog alone.
        state: the learned weights; None for a model as it comes.
        checkpoint: the file that they were read from, if it was one.
    """

    name: str
    setup: Setup
    catalog: Catalog
    retriever: Retriever | None
    state: Mapping[str, Tensor] | None = field(default=None, repr=False)
    checkpoint: Path | None = None

    @classmethod
    def untrained(cls, setup: Setup) -> "System":
        """The model as it comes."""
        catalog = setup.baseline_catalog()
        retriever = Retriever(*catalog.heads).eval().to(setup.device)
        return cls(f"{setup.spec.label} as it comes", setup, catalog, retriever)

    @classmethod
    def trained(
        cls,
        name: str,
        setup: Setup,
        state: Mapping[str, Tensor],
        checkpoint: Path | None = None,
    ) -> "System":
        """The model with the weights of a checkpoint."""
        retriever, catalog = trained(setup, state, setup.baseline_catalog())
        return cls(name, setup, catalog, retriever, state, checkpoint)

    @classmethod
    def named(cls, cfg: DictConfig, setup: Setup, name: str) -> "System":
        """Another run, or a catalog, over the data of a command.

        Raises:
            CatalogError: the catalog is of other items.
            CheckpointError: there is no such run.
        """
        folder = Path(name).expanduser()
        if (folder / MANIFEST).is_file():
            return cls.stored(setup, folder)
        other, state = of_run(cfg, name)
        return cls.trained(name, Setup.of(other, setup.team), state, checkpoint_path(name, "last"))

    @classmethod
    def stored(cls, setup: Setup, folder: Path) -> "System":
        """A catalog folder.

        Raises:
            CatalogError: it is of other items than the command's data, or its embeddings contain
                NaN or Inf.
        """
        catalog = open_catalog(folder)
        if catalog.manifest["data"] != setup.table.key:
            raise CatalogError(
                f"{folder} is a catalog of {catalog.manifest['data']}, data={setup.source.name} is "
                f"{setup.table.key}: give the data= and the options that it was built with"
            )
        check_embeddings(catalog)
        # Its model may be another than the command's, whose tokenizer then says nothing.
        return cls(str(folder), replace(setup, reads_captions=False), catalog, None)

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
        retriever = Retriever.on(self.setup.backbone)
        if self.state is not None:
            with_weights(self.state, retriever, self.setup.spec)
        elif self.retriever is None and self.catalog.manifest["encoder"] != self.setup.identity:
            raise ConfigError(
                f"{self.name} was not made by model={self.setup.spec.label} as it is, so nothing "
                "new can be asked of it: give the run that it was made from, as run=<run folder>"
            )
        return retriever.eval().requires_grad_(False).to(self.setup.device)

    @property
    def embeddings(self) -> Catalog:
        """The catalog of its own embeddings, built if the cache has none."""
        if self.retriever is None:
            return self.catalog
        return embedding_catalog(self.setup, self.state, None)

    def embedded(self, protocol: Protocol) -> Embedded:
        """The embeddings of a protocol's rows."""
        if self.retriever is not None:
            table, codes = self.setup.table, self.setup.codes
            return embed_stored(self.retriever, self.catalog, table, codes, protocol)
        rows = torch.from_numpy(protocol.rows)
        image, text = self.catalog.image[rows].float(), self.catalog.text[rows].float()
        device = self.setup.device
        return Embedded(image.to(device), text.to(device), self.catalog.layout)


def compared_system(cfg: DictConfig, system: System) -> tuple[System | None, str]:
    """What a system is compared with, and what the two are called together.

    That is what `baseline` names, else the model untrained; nothing for a model as it comes.
    """
    if cfg.baseline is not None:
        other = System.named(system.setup.cfg, system.setup, cfg.baseline)
        return other, f"{system.name} against {other.name}"
    return (None if system.state is None else System.untrained(system.setup)), system.name


def shown_split(setup: Setup) -> str:
    """The split that the scoreboard of a training run shows: test where the data has one."""
    return "test" if "test" in setup.table.splits else "validation"


def split_to_judge(cfg: DictConfig, setup: Setup) -> str:
    """The split that `split` names.

    Null stands for what the scoreboard of a run showed where `run` or `ckpt` names a model, and
    for validation where a model is judged as it comes.
    """
    if cfg.split is not None:
        return str(cfg.split)
    trained = cfg.run is not None or cfg.ckpt not in ("last", "best")
    return shown_split(setup) if trained else "validation"


def judged_system(cfg: DictConfig) -> System:
    """What `run`, `ckpt` and `model` of evaluate.py name.

    Raises:
        CatalogError: `run` names a catalog of other items.
        CheckpointError: `run` names neither a run nor a catalog.
    """
    folder = None if cfg.run is None else Path(cfg.run).expanduser()
    is_catalog = folder is not None and (folder / MANIFEST).is_file()
    run, ckpt = cfg.run, cfg.ckpt
    cfg, state = (cfg, None) if is_catalog else named_checkpoint(cfg)
    if cfg.get("quick"):
        cfg.retrieval.max_queries = cfg.retrieval.max_queries or 500
        cfg.retrieval.max_items = cfg.retrieval.max_items or 5000
    setup = Setup.of(cfg, together="trainer" in cfg)
    if is_catalog and folder is not None:
        system = System.stored(setup, folder)
        check_weights(cfg.retrieval.weights, system.catalog.layout.attributes)
        return system
    check_weights(cfg.retrieval.weights, tuple(setup.spec.block_widths))
    if state is None:
        return System.untrained(setup)
    return System.trained(str(run or ckpt), setup, state, checkpoint_path(run, ckpt))
