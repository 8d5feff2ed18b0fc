"""What every pipeline begins with: a checked model, prepared data, and its catalogs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fashret.cache import default_cache_dir
from fashret.catalog.build import ensure_catalog
from fashret.catalog.store import Catalog
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.data.preparation import prepare, prepared_folder
from fashret.data.source import Source
from fashret.data.tokens import CaptionTokens
from fashret.errors import CheckpointError, ConfigError
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.plan import Plan, metric_names
from fashret.evaluation.split_search import SplitSearch
from fashret.evaluation.targets import Target, usable_targets
from fashret.models.backbone import Backbone, load_backbone, load_tokenizer
from fashret.models.device import pick_device
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec
from fashret.pipelines.process_group import ProcessGroup, ProcessOptions
from fashret.types import UNKNOWN

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """What every pipeline is told.

    Args:
        source: where items come from.
        model: which model.
        retrieval: who searches what, and what is counted.
        targets: what should rise and what must not fall, by name.
        given_targets: the names of those that the user gave, which must exist.
        catalog_dtype: of stored embeddings, float32 or float16.
        device: where photos are encoded and searched: auto, cpu, cuda, mps.
        cache_dir: prepared data, catalogs and weights, for all runs.
        output_dir: the run folder.
        processes: several processes that work together; None for this one alone.
    """

    source: Source
    model: ModelSpec = field(default_factory=ModelSpec)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    targets: Mapping[str, Target] = field(default_factory=dict)
    given_targets: frozenset[str] = frozenset()
    catalog_dtype: str = "float32"
    device: str = "auto"
    cache_dir: Path = field(default_factory=default_cache_dir)
    output_dir: Path = Path("outputs")
    processes: ProcessOptions | None = None


@dataclass(frozen=True)
class Session:
    """A model and a prepared data set.

    Attributes:
        options: what was asked for.
        spec: the model.
        table: the prepared items.
        output_dir: the run folder, the same for all processes.
        device: where photos are encoded and searched.
        group: the processes that work together.
        reads_captions: whether the model's tokenizer says which captions are equal; else their
            text does, where the model behind a catalog is not the session's.
    """

    options: SessionOptions
    spec: ModelSpec
    table: ItemTable
    output_dir: Path
    device: torch.device
    group: ProcessGroup
    reads_captions: bool = True

    @classmethod
    def open(cls, options: SessionOptions) -> "Session":
        """Check what needs no data, start the processes, and prepare the data.

        Raises:
            ConfigError: an option does not fit.
            CheckpointError: the weights cannot be had.
            DataError: the data cannot be used.
        """
        spec, source, cache_dir = options.model, options.source, options.cache_dir
        check_attribute_heads(spec, source)
        group = ProcessGroup.start(options.processes)
        device = pick_device(options.device)
        if device == torch.device("cuda"):  # several processes have a GPU each
            device = group.device or device
        folder = prepared_folder(source, cache_dir)
        if not folder.exists():
            # Weights that cannot be had should be known before minutes go into the data.
            load_backbone(spec, cache_dir)
        table = prepare(source, cache_dir, folder=folder)
        log.info("data %s: %d items in %s", source.name, len(table), table.folder)
        output_dir = options.output_dir
        if group.world_size > 1:  # each composed a run folder of its own
            output_dir = Path(group.broadcast(str(output_dir.absolute())))
        session = cls(options, spec, table, output_dir, device, group)
        _ = session.targets  # one that cannot be judged should be known before training
        return session

    @property
    def source(self) -> Source:
        """Where the items came from."""
        return self.options.source

    @property
    def cache_dir(self) -> Path:
        """Prepared data, catalogs and weights, for all runs."""
        return self.options.cache_dir

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Cache identity of the untrained model."""
        return self.spec.identity(self.cache_dir)

    @cached_property
    def codes(self) -> ItemCodes:
        """The codes of the table; captions that the model cannot tell apart have one."""
        codes = ItemCodes(self.table, min_confidence=self.source.min_confidence)
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
        tokens = CaptionTokens.from_captions(captions, tokenizer)
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

    def reload_backbone(self) -> None:
        """Drop the towers, which have learned; they are loaded anew when they are next needed."""
        vars(self).pop("backbone", None)

    def rows(self, split: str | None) -> NDArray[np.int64]:
        """The rows of a split, ascending; None stands for all."""
        splits = self.table.splits if split is None else (split,)
        if split is not None and split not in self.table.splits:
            raise ConfigError(
                f"split={split}: data={self.source.name} has {', '.join(self.table.splits)}"
            )
        return np.sort(np.concatenate([self.table.rows(name) for name in splits]))

    def split_search(self, split: str) -> SplitSearch:
        """Who searches what in a split."""
        return SplitSearch.of(self.table, self.codes, split, self.options.retrieval)

    @cached_property
    def targets(self) -> list[Target]:
        """The targets that the scoreboard of a split can give a number for.

        Raises:
            ConfigError: one that the user gave names nothing that exists.
        """
        if not self.options.targets:
            return []
        shown, splits = shown_split(self), self.table.splits
        plan = self.split_search(shown if shown in splits else splits[0])
        return self._usable(self.options.targets, plan)

    def benchmark_targets(self, plan: Plan) -> list[Target]:
        """The targets that the user gave for a published benchmark; the data set's are not of it.

        Raises:
            ConfigError: one names nothing that exists.
        """
        given = self.options.given_targets
        asked = {name: one for name, one in self.options.targets.items() if name in given}
        return self._usable(asked, plan)

    def _usable(self, asked: Mapping[str, Target], plan: Plan) -> list[Target]:
        return usable_targets(
            asked,
            metrics=metric_names(plan),
            sliced=self.options.retrieval.slice_metrics,
            values={name: self.table.codes(name)[1] for name in self.table.categorical_columns},
            given=self.options.given_targets,
        )

    def baseline_catalog(self) -> Catalog:
        """The catalog of the untrained model, from the cache or built now."""
        return self.catalog(self.identity, lambda: Retriever.from_backbone(self.backbone))

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
            dtype=self.options.catalog_dtype,
            base=base,
            folder=folder,
            device=self.device,
            num_workers=self.source.workers,
            processes=self.group,
        )
        log.info("catalog: %s", catalog.folder)
        return catalog


def shown_split(session: Session) -> str:
    """The split that the scoreboard of a training run shows: test where the data has one."""
    return "test" if "test" in session.table.splits else "validation"


def check_attribute_heads(spec: ModelSpec, source: Source) -> None:
    """Make sure that the model's attribute heads are of attributes that the data has.

    Raises:
        ConfigError: one is not.
    """
    described = ("category", *source.attributes)
    for name in spec.block_widths:
        if name not in described:
            raise ConfigError(
                f"model.attribute_blocks names {name}; the data has {', '.join(described)}"
            )


def check_weights(weights: Mapping[str, float] | None, heads: Sequence[str]) -> None:
    """Make sure that what a query weighs is an attribute head of the model.

    Raises:
        ConfigError: one is not.
    """
    for name in weights or {}:
        if name not in heads:
            known = f"attribute heads for {', '.join(heads)}" if heads else "no attribute heads"
            raise ConfigError(
                f"retrieval.weights names '{name}'; the model has {known}: retrain with "
                f"model.attribute_blocks={{{name}: 32}}, or drop it"
            )
