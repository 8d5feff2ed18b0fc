"""A session: the checked model, the prepared data and the catalogs that every pipeline needs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.cache import default_cache_dir
from fashret.catalog.build import ensure_catalog
from fashret.catalog.contents import FeatureStores, stores_folder
from fashret.catalog.encode import Encoder
from fashret.catalog.feature_store import StoredFeatures
from fashret.catalog.folder import Catalog
from fashret.data.codes import ItemCodes
from fashret.data.embeddings import ImportedEmbeddings, embeddings_key, read_embeddings
from fashret.data.items import ItemTable
from fashret.data.preparation import prepare, prepared_folder
from fashret.data.source import Source
from fashret.data.tokens import CaptionTokens
from fashret.errors import CheckpointError, ConfigError
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.plan import Plan, metric_names
from fashret.evaluation.split_search import MODES, SplitSearch
from fashret.evaluation.targets import Target, usable_targets
from fashret.functional.blocks import GENERAL
from fashret.functional.similarity import Vectors
from fashret.loading.batches import tokenize_captions
from fashret.models.backbone import Backbone, load_backbone, load_tokenizer
from fashret.models.checkpoint import with_weights
from fashret.models.device import pick_device
from fashret.models.heads import Projection
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec
from fashret.pipelines.process_group import ProcessGroup, ProcessOptions
from fashret.types import UNKNOWN, JudgedQueries

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """Options that all pipelines share.

    Args:
        source: the data source.
        model: the spec of the model.
        retrieval: queries, gallery, cut-offs and metrics of the evaluation.
        targets: the acceptance targets, by name.
        given_targets: the names of the targets that the user set; their metrics must exist.
        catalog_dtype: the dtype of stored embeddings, float32 or float16.
        device: the device that encodes and searches: auto, cpu, cuda, mps.
        cache_dir: the folder of prepared data, catalogs and weights, shared by all runs.
        output_dir: the run folder.
        processes: the processes to start; None for this one alone.
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

    def __post_init__(self) -> None:
        # Absolute: a notebook may change its folder between two calls.
        for name in ("cache_dir", "output_dir"):
            object.__setattr__(self, name, Path(getattr(self, name)).absolute())


@dataclass(frozen=True)
class Session:
    """A model and a prepared data set.

    Attributes:
        options: the options of the session.
        spec: the spec of the model.
        table: the prepared items.
        output_dir: the run folder, the same for all processes.
        device: the device that encodes and searches.
        group: the processes that work together.
        reads_captions: whether captions are compared by the model's tokens; else by their text,
            for a catalog of another model.
    """

    options: SessionOptions
    spec: ModelSpec
    table: ItemTable
    output_dir: Path
    device: torch.device
    group: ProcessGroup
    reads_captions: bool = True
    _query_features: dict[str, Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # of this model: a copy for another one begins anew

    @classmethod
    def open(cls, options: SessionOptions) -> "Session":
        """Check the options, start the processes, and prepare the data.

        Args:
            options: the options of the session.

        Raises:
            ConfigError: an option is not allowed.
            CheckpointError: the weights cannot be loaded.
            DataError: the data cannot be used.
        """
        spec, source, cache_dir = options.model, options.source, options.cache_dir
        check_attribute_heads(spec, source)
        group = ProcessGroup.start(options.processes)
        device = pick_device(options.device)
        if device == torch.device("cuda"):  # several processes have a GPU each
            device = group.device or device
        folder = prepared_folder(source, cache_dir)
        if not folder.exists() and spec.has_towers:
            # Fail on missing weights before minutes are spent on the data.
            load_backbone(spec, cache_dir)
        table = prepare(source, cache_dir, folder=folder)
        log.info("data %s: %d items in %s", source.name, len(table), table.folder)
        output_dir = options.output_dir
        if group.world_size > 1:  # each process has composed its own
            output_dir = Path(group.broadcast(str(output_dir.absolute())))
        return cls(options, spec, table, output_dir, device, group)

    @property
    def source(self) -> Source:
        """The data source."""
        return self.options.source

    @property
    def cache_dir(self) -> Path:
        """The folder of prepared data, catalogs and weights."""
        return self.options.cache_dir

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Cache identity of the untrained model."""
        return self.spec.identity(self.cache_dir)

    @cached_property
    def codes(self) -> ItemCodes:
        """The codes of the table; captions with equal tokens share a code."""
        codes = ItemCodes(self.table, min_confidence=self.source.min_confidence)
        if not self.spec.reads_text:
            return codes.without_captions()
        if self.imported is not None and self.imported.text is not None:
            return self._without_missing_vectors(codes, self.imported.text)
        tokens = self.caption_tokens
        return codes if tokens is None else codes.with_captions(tokens.first)

    def _without_missing_vectors(self, codes: ItemCodes, text: NDArray[Any]) -> ItemCodes:
        """Copy the codes without the texts whose vectors were not imported."""
        known = np.abs(text[self._imported_rows]).max(axis=1) > 0
        lacking = torch.from_numpy(~known) & (codes.caption != UNKNOWN)
        if lacking.any():
            log.warning(
                "data.embeddings=%s lacks the vectors of %d texts: these items count as items "
                "without a text",
                self.spec.embeddings,
                int(lacking.sum()),
            )
        return codes.with_caption_codes(torch.where(lacking, UNKNOWN, codes.caption))

    @cached_property
    def _imported_rows(self) -> NDArray[np.int64]:
        """(N,) the row of the imported embeddings for each item."""
        assert self.imported is not None, "nothing was imported"
        what = f"data.embeddings={self.spec.embeddings}"
        return self.imported.rows_of(self.table.column("item_id"), what)

    @cached_property
    def caption_tokens(self) -> CaptionTokens | None:
        """The tokens of the captions; None without captions, or if no tokenizer can be loaded."""
        codes, captions = self.table.codes("text")
        without_tokens = not self.reads_captions or not self.spec.has_towers
        if not captions or without_tokens or not self.spec.reads_text:
            return None
        try:
            tokenizer = load_tokenizer(self.spec, self.cache_dir)
        except CheckpointError as e:
            log.warning("comparing captions by their text instead of their tokens: %s", e)
            return None
        tokens = CaptionTokens.from_captions(captions, tokenizer)
        cut = tokens.cut.numpy()[codes] & (codes != UNKNOWN)
        if cut.any():
            row = int(np.flatnonzero(cut)[0])
            log.warning(
                "the texts of %d of %d items are truncated to the %d tokens that %s reads, such as "
                "that of item %s: '%s'. Texts with equal tokens count as one caption",
                int(cut.sum()),
                len(self.table),
                tokens.context_length,
                self.spec.label,
                self.table.column("item_id")[row],
                captions[codes[row]],
            )
        return tokens

    def texts(self) -> dict[str, int] | None:
        """Count the texts that the model truncates, as in metrics.json; None without tokens."""
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
        """The untrained towers, loaded on first use; training alone may change them."""
        return load_backbone(self.spec, self.cache_dir)

    def trained_towers(self, state: Mapping[str, Tensor]) -> Retriever:
        """Load a trained model with towers of its own, so that `backbone` stays untrained.

        Args:
            state: the trained weights of a checkpoint.
        """
        retriever = Retriever.from_backbone(load_backbone(self.spec, self.cache_dir))
        return with_weights(state, retriever, self.spec)

    @cached_property
    def judged_queries(self) -> Mapping[str, JudgedQueries]:
        """The judged queries of the data that are not items, by the task that trains on them."""
        if not self.spec.reads_text:
            return {}
        found = self.source.judged_queries(self.table)
        for task, queries in found.items():
            log.info(
                "%s: %d queries with %d judgments of items", task, len(queries), len(queries.row)
            )
        return found

    def query_tokens(self, task: str) -> Tensor:
        """Return the (Q, L) int32 tokens of the judged queries of a task."""
        return tokenize_captions(self.backbone.tokenize, self.judged_queries[task].texts)

    def query_features(self, task: str) -> Tensor:
        """Return the (Q, G) float features of the judged queries, by the untrained text tower.

        They are in the feature store, as those of the items' texts.
        """
        if task not in self._query_features:
            self.backbone.to(self.device).eval()
            retriever = Retriever.from_backbone(self.backbone)
            dtype = self.options.catalog_dtype
            folder = stores_folder(self.cache_dir, self.spec.label, self.identity, dtype)
            store = FeatureStores.create(folder, retriever, dtype, self.identity).text
            self._query_features[task] = Encoder(
                retriever=retriever, device=self.device
            ).text_features(self.judged_queries[task].texts, store, of="queries")
        return self._query_features[task]

    def reload_backbone(self) -> None:
        """Drop the towers, which training has changed; they are loaded again on next use."""
        vars(self).pop("backbone", None)

    def rows(self, split: str | None) -> NDArray[np.int64]:
        """Return the rows of a split, ascending; None for all items."""
        splits = self.table.splits if split is None else (split,)
        if split is not None and split not in self.table.splits:
            raise ConfigError(
                f"split={split}: data={self.source.name} has the splits "
                f"{', '.join(self.table.splits)}"
            )
        return np.sort(np.concatenate([self.table.rows(name) for name in splits]))

    def split_search(self, split: str) -> SplitSearch:
        """Return the plan of a split's evaluation: queries, gallery and ground truth."""
        return SplitSearch.from_table(
            self.table,
            self.codes,
            split,
            self.options.retrieval,
            self.judged_queries,
            modes=MODES if self.spec.reads_text else ("image",),
        )

    @cached_property
    def targets(self) -> list[Target]:
        """The acceptance targets whose metrics exist for the data.

        Raises:
            ConfigError: a target that the user set names a metric that does not exist.
        """
        if not self.options.targets:
            return []
        shown, splits = shown_split(self), self.table.splits
        plan = self.split_search(shown if shown in splits else splits[0])
        return self._usable(self.options.targets, plan)

    def benchmark_targets(self, plan: Plan) -> list[Target]:
        """Return the user's targets for a published benchmark; the data set's own do not apply.

        Raises:
            ConfigError: a target names a metric that does not exist.
        """
        given = self.options.given_targets
        targets = {name: one for name, one in self.options.targets.items() if name in given}
        return self._usable(targets, plan)

    def _usable(self, targets: Mapping[str, Target], plan: Plan) -> list[Target]:
        return usable_targets(
            targets,
            metrics=metric_names(plan),
            sliced=self.options.retrieval.slice_metrics,
            values={name: self.table.codes(name)[1] for name in self.table.categorical_columns},
            given=self.options.given_targets,
        )

    def untrained(self) -> Retriever:
        """Make the untrained model: its towers, or heads that leave imported embeddings as is."""
        if self.imported is None:
            return Retriever.from_backbone(self.backbone)
        width = self.imported.image.shape[1]
        return Retriever(Projection.identity(width), Projection.identity(width))

    @cached_property
    def imported(self) -> ImportedEmbeddings | None:
        """The embeddings that others computed, in place of towers; None for a model with towers."""
        path = self.spec.embeddings
        if path is None:
            return None
        assert self.imported_hash is not None
        return read_embeddings(path, self.cache_dir, self.imported_hash)

    @property
    def imported_hash(self) -> str | None:
        """The hash of the imported embeddings; None for a model with towers."""
        return None if self.spec.has_towers else embeddings_key([str(self.identity)])

    def baseline_catalog(self, folder: Path | None = None) -> Catalog:
        """Open the catalog of the untrained model, or build it first.

        Args:
            folder: the folder to write; None for the cache.
        """
        features = None
        if self.imported is not None:
            rows = self._imported_rows
            image = torch.from_numpy(self.imported.image)
            no_text = np.full(len(rows), UNKNOWN)
            features = {"image": StoredFeatures(image, rows)}
            if self.imported.text is None:
                features["text"] = StoredFeatures(image[:0], no_text)
            else:
                features["text"] = StoredFeatures(torch.from_numpy(self.imported.text), rows)
        return self.catalog(self.identity, self.untrained, folder=folder, features=features)

    def catalog(
        self,
        identity: Mapping[str, Any],
        load: Callable[[], Retriever],
        *,
        features: Mapping[str, Vectors] | None = None,
        preprocess: object = None,
        folder: Path | None = None,
    ) -> Catalog:
        """Open the catalog of an encoder over the data, or build it first; see `ensure_catalog`."""
        catalog = ensure_catalog(
            self.table,
            identity,
            load,
            self.cache_dir,
            label=self.spec.label,
            dtype=self.options.catalog_dtype,
            features=features,
            preprocess=preprocess,
            folder=folder,
            device=self.device,
            num_workers=self.source.workers,
            processes=self.group,
        )
        log.info("catalog: %s", catalog.folder)
        return catalog


def shown_split(session: Session) -> str:
    """Return the split of a training run's scoreboard: test if the data has it, else validation."""
    return "test" if "test" in session.table.splits else "validation"


def check_attribute_heads(spec: ModelSpec, source: Source) -> None:
    """Check that the data has the attributes of the model's attribute heads.

    Raises:
        ConfigError: the data lacks one of them.
    """
    described = ("category", *source.attributes)
    for name in spec.block_widths:
        if name not in described:
            raise ConfigError(
                f"model.attribute_blocks names {name}; the data has {', '.join(described)}"
            )


def check_weights(weights: Mapping[str, float] | None, heads: Sequence[str]) -> None:
    """Check that the model has the attribute heads that a query weights.

    Args:
        weights: the weights by attribute; None for none.
        heads: the attributes of the model's heads.

    Raises:
        ConfigError: the model lacks one of the heads, or a weight is negative.
    """
    for name, weight in (weights or {}).items():
        if not isinstance(weight, int | float) or not weight >= 0:
            raise ConfigError(f"retrieval.weights.{name}={weight}: it must be at least 0")
        if name == GENERAL:
            raise ConfigError(
                f"retrieval.weights.{name}={weight}: the general embedding has the weight 1; weigh "
                "attribute heads against it"
            )
        if name not in heads:
            existing = f"attribute heads for {', '.join(heads)}" if heads else "no attribute heads"
            raise ConfigError(
                f"retrieval.weights names '{name}'; the model has {existing}: retrain with "
                f"model.attribute_blocks={{{name}: 32}}, or drop it"
            )
