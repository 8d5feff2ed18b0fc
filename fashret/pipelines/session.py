"""What every command does first: check the configuration, find the model, prepare the data."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf, open_dict

from fashret.catalog.build import ensure_catalog
from fashret.catalog.store import Catalog
from fashret.config import build, check
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.data.preparation import prepare, prepared_folder
from fashret.data.source import Source
from fashret.data.tokens import CaptionTokens
from fashret.engine.datamodule import FashionData
from fashret.errors import CheckpointError, ConfigError
from fashret.evaluation.evaluator import metric_names
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.split_search import Protocol
from fashret.evaluation.targets import Target, usable_targets
from fashret.miners.base import Miner
from fashret.models.backbone import Backbone, load_backbone, load_tokenizer
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec
from fashret.pipelines.process_group import Team
from fashret.types import UNKNOWN, TrainingItems

log = logging.getLogger(__name__)

_LIVE = {"trainer": {"callbacks", "logger"}}
_NOT_IN_REFERENCE = ("experiment", "ablation", "debug")


@dataclass(frozen=True)
class Setup:
    """A configuration that was checked, and the parts that every command is made of.

    Attributes:
        cfg: the configuration.
        source: where items come from.
        spec: which model.
        table: the prepared items.
        targets: what is asked for.
        cache_dir: one place for all runs.
        output_dir: the run folder.
        device: where photos are encoded and searched.
        team: the processes that run this command together.
        reads_captions: whether the model's tokenizer says which captions are equal; else their
            text does, where the model behind a catalog is not the command's.
    """

    cfg: DictConfig
    source: Source
    spec: ModelSpec
    table: ItemTable
    targets: list[Target]
    cache_dir: Path
    output_dir: Path
    device: torch.device
    team: Team
    reads_captions: bool = True

    @classmethod
    def of(cls, cfg: DictConfig, team: Team | None = None, *, together: bool = False) -> "Setup":
        """Check everything that needs no data, then prepare the data.

        Args:
            cfg: the configuration.
            team: the processes that run this command together; None for this one alone.
            together: start them, if the configuration asks for several, once it is checked.

        Raises:
            ConfigError: an option does not fit.
            CheckpointError: the weights are not to be had.
            DataError: the data cannot be used.
        """
        spec: ModelSpec = build(cfg.model)
        source: Source = build(cfg.data)
        for node in (
            "retrieval",
            "loss",
            "miner",
            "block_loss",
        ):  # a fault should be known before data are read
            if node in cfg:
                build(cfg[node])
        if "report" in cfg:
            build(cfg.report.gallery)
        check_blocks(spec, source)
        asked = {
            str(name): build(node) for name, node in (cfg.get("targets") or {}).items() if node
        }
        if together:
            team = Team.of(cfg)
        device = pick_device(cfg.device)
        if device == torch.device("cuda") and team is not None:  # no one of several GPUs
            device = team.device or device
        cache_dir = Path(cfg.paths.cache_dir).expanduser()
        folder = prepared_folder(source, cache_dir)
        if not folder.exists():
            # Weights that cannot be had should be known before minutes go into the data.
            load_backbone(spec, cache_dir)
        table = prepare(source, cache_dir, folder=folder)
        log.info("data %s: %d items in %s", source.name, len(table), table.folder)
        options: RetrievalOptions | None = build(cfg.retrieval) if "retrieval" in cfg else None
        return cls(
            cfg=cfg,
            source=source,
            spec=spec,
            table=table,
            targets=_usable(cfg, asked, table, options),
            cache_dir=cache_dir,
            output_dir=Path(cfg.paths.output_dir),
            device=device,
            team=team or Team(),
        )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Of the untrained model."""
        return self.spec.identity(self.cache_dir)

    @cached_property
    def codes(self) -> ItemCodes:
        """The codes of the table; captions that the model cannot tell apart have one."""
        codes = ItemCodes(self.table, min_confidence=_min_confidence(self.source))
        tokens = self.caption_tokens
        return codes if tokens is None else codes.with_captions(tokens.first)

    @cached_property
    def caption_tokens(self) -> CaptionTokens | None:
        """What the model reads of the captions; None where there are none or it cannot be told."""
        codes, captions = self.table.codes("text")
        if not captions or not self.reads_captions:
            return None
        try:
            tokenizer = load_tokenizer(self.spec, self.cache_dir)
        except CheckpointError as e:
            log.warning("captions are compared by their text, since %s", e)
            return None
        tokens = CaptionTokens.of(captions, tokenizer)
        cut = tokens.cut.numpy()[codes] & (codes != UNKNOWN)
        if cut.any():
            row = int(np.flatnonzero(cut)[0])
            log.warning(
                "the texts of %d of %d items have more than the %d tokens that %s reads, and are "
                "cut there, such as item %s: '%s'. Texts that are then equal count as one caption",
                int(cut.sum()),
                len(self.table),
                tokens.context_length,
                self.spec.label,
                self.table.column("item_id")[row],
                captions[codes[row]],
            )
        return tokens

    def texts(self) -> dict[str, int] | None:
        """How many items' texts the model cuts, as metrics.json has it."""
        if (tokens := self.caption_tokens) is None:
            return None
        codes = self.table.codes("text")[0]
        known = codes[codes != UNKNOWN]
        return {
            "items": len(known),
            "cut": int(tokens.cut.numpy()[known].sum()),
            "context_length": tokens.context_length,
            "captions": len(tokens.first),
            "captions_by_tokens": len(tokens.first.unique()),
        }

    @cached_property
    def backbone(self) -> Backbone:
        """The towers, loaded when they are first needed."""
        return load_backbone(self.spec, self.cache_dir)

    def forget_towers(self) -> None:
        """Load the towers anew when they are next needed: those that are here have learned."""
        vars(self).pop("backbone", None)

    def rows(self, split: str | None) -> NDArray[np.int64]:
        """The rows of a split, ascending; None stands for all."""
        splits = self.table.splits if split is None else (split,)
        if split is not None and split not in self.table.splits:
            raise ConfigError(
                f"split={split}: data={self.source.name} has {', '.join(self.table.splits)}"
            )
        return np.sort(np.concatenate([self.table.rows(name) for name in splits]))

    def protocol(self, split: str) -> Protocol:
        """Who searches what in a split."""
        options: RetrievalOptions = build(self.cfg.retrieval)
        return Protocol.of(self.table, self.codes, split, options)

    def baseline_catalog(self) -> Catalog:
        """The catalog of the untrained model, from the cache or built now."""
        return self.catalog(self.identity, lambda: Retriever.on(self.backbone))

    def catalog(
        self,
        identity: Mapping[str, Any],
        load: Callable[[], Retriever],
        *,
        base: Catalog | None = None,
        folder: Path | None = None,
    ) -> Catalog:
        """The catalog of an encoder over the data."""
        catalog = ensure_catalog(
            self.table,
            identity,
            load,
            self.cache_dir,
            label=self.spec.label,
            dtype=self.cfg.catalog.dtype,
            base=base,
            folder=folder,
            device=self.device,
            num_workers=self.source.workers,
            processes=self.team,
        )
        log.info("catalog: %s", catalog.folder)
        return catalog

    def data_module(self, baseline: Catalog, training: TrainingItems, miner: Miner) -> FashionData:
        """The loaders of a training run, evaluated on the validation split."""
        return FashionData(
            self.table,
            self.codes,
            self.source,
            self.protocol("validation"),
            baseline=baseline,
            backbone=None if self.spec.frozen else self.backbone,
            training=training,
            miner=miner,
            seed=self.cfg.seed,
        )


def _usable(
    cfg: DictConfig,
    asked: Mapping[str, Target],
    table: ItemTable,
    options: RetrievalOptions | None,
) -> list[Target]:
    """The targets that the data can give a number for.

    Raises:
        ConfigError: one that the user gave cannot.
    """
    if options is None or not asked:
        return []
    return usable_targets(
        asked,
        metrics=metric_names(table.described, options.k),
        sliced=options.slice_metrics,
        values={name: table.codes(name)[1] for name in table.described},
        given=_given_targets(cfg),
    )


def _given_targets(cfg: DictConfig) -> set[str]:
    """The names of the targets that are not the data set's own, or not as it has them.

    These come from the command line, or from an experiment.
    """
    if not HydraConfig.initialized():
        return set()
    choice = HydraConfig.get().runtime.choices.get("targets")
    # Any: Hydra's loader has a repository of configurations, its interface does not say so
    loader: Any = GlobalHydra.instance().config_loader()
    held = loader.repository.load_config(f"targets/{choice}")
    own = {} if held is None else OmegaConf.to_container(held.config)
    assert isinstance(own, dict)
    targets = OmegaConf.to_container(cfg.targets)
    assert isinstance(targets, dict)
    return {str(name) for name, target in targets.items() if own.get(name) != target}


def check_blocks(spec: ModelSpec, source: Source) -> None:
    """Make sure that the model's blocks are of the data.

    Raises:
        ConfigError: one is not.
    """
    described = ("category", *source.attributes)
    for name in spec.block_widths:
        if name not in described:
            raise ConfigError(
                f"model.attribute_blocks names {name}; the data has {', '.join(described)}"
            )


def check_weights(weights: Mapping[str, float] | None, blocks: Sequence[str]) -> None:
    """Make sure that what a query weighs is a block of the model.

    Raises:
        ConfigError: one is not.
    """
    for name in weights or {}:
        if name not in blocks:
            raise ConfigError(
                f"retrieval.weights names {name}; the model has the blocks "
                f"{', '.join(blocks) or 'of no attribute: model.attribute_blocks'}"
            )


def check_composed(cfg: DictConfig, command: str) -> None:
    """Hold a configuration against its groups as they are without experiment and overrides."""
    choices = dict(HydraConfig.get().runtime.choices) if HydraConfig.initialized() else {}
    if choices.get("targets") not in GlobalHydra.instance().config_loader().get_group_options(
        "targets"
    ):
        choices.pop("targets", None)  # a data set without targets of its own
    overrides = [
        f"{'+' * ('@' in group)}{group}={choice}"  # one with a place of its own is an experiment's
        for group, choice in choices.items()
        if choice is not None and "/" not in group and group not in ("hydra", *_NOT_IN_REFERENCE)
    ]
    reference = compose(command, overrides=overrides)
    with open_dict(reference):
        reference.setdefault("targets", {})
    check(cfg, reference, _LIVE)


def pick_device(name: str) -> torch.device:
    """The device that a name stands for; `auto` takes the best there is.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as e:
        raise ConfigError(f"device={name} is not to be had here: {str(e).splitlines()[0]}") from e
    return torch.device(name)


def _min_confidence(source: Source) -> float:
    """How sure a product must be."""
    return 0.0 if source.groups is None else source.groups.min_confidence


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain containers, which safe loading allows in a checkpoint."""
    container = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
