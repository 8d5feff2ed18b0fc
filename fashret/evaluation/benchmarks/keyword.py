"""Keyword queries: short texts as shoppers type them, made from the attributes of the items."""

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fashret.data.attribute_parser import Schema
from fashret.errors import ConfigError
from fashret.evaluation.benchmarks.base import Benchmark, EmbeddedTask, EvaluationInputs
from fashret.functional.relevance import PartialMatch
from fashret.tasks.base import NO_ROW, Search, Task
from fashret.types import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Keyword(Benchmark):
    """Keyword search: texts such as *red v-neck cardigan* retrieve photos.

    Every combination of values that an item has is one query. An item with every requested value is
    relevant; an item of the same category with some of them has a gain equal to their share, which
    nDCG counts: two of three words are worth two thirds. An item of another category is not
    relevant, and an unknown value does not match.

    Args:
        templates: the query templates, such as "{colour} {category}"; each needs the category.
            Templates with an attribute that the data lacks are skipped.
        schema: the word lists; a value is expressed by its first whole phrase.
        max_queries: the maximum number of queries of a template, a seeded sample.
        seed: the seed of the sample.
        k: the cut-offs of hit rate, precision and nDCG.
    """

    templates: Sequence[str]
    schema: Schema | None
    max_queries: int
    seed: int
    k: Sequence[int]

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """Yield one task for each template."""
        num_tasks = 0
        for template in self.templates:
            names = [name for _, name, _, _ in string.Formatter().parse(template) if name]
            if "category" not in names:
                raise ConfigError(f"protocol.templates: '{template}' has no {{category}}")
            if set(names) <= set(inputs.table.categorical_columns):
                task = self._task(inputs, template, names)
                if task is not None:
                    num_tasks += 1
                    yield task
        if not num_tasks:
            raise ConfigError(
                "protocol=keyword: no template of protocol.templates can be filled; the data has "
                f"{', '.join(inputs.table.categorical_columns)}"
            )

    def _task(
        self, inputs: EvaluationInputs, template: str, names: list[str]
    ) -> EmbeddedTask | None:
        names = ["category", *(name for name in names if name != "category")]
        positions = torch.arange(len(inputs.rows))
        stated = torch.stack([inputs.code(name, positions) for name in names], dim=1)
        requested = stated[(stated != UNKNOWN).all(dim=1)].unique(dim=0)
        if not len(requested):
            return None
        if len(requested) > self.max_queries:
            rng = np.random.default_rng(self.seed)
            chosen = np.sort(rng.choice(len(requested), self.max_queries, replace=False))
            requested = requested[torch.from_numpy(chosen)]
        values = {name: inputs.codes.labels[name][1] for name in names}
        texts = [
            template.format_map(
                {
                    name: self._words(name, values[name][code])
                    for name, code in zip(names, row, strict=True)
                }
            )
            for row in requested.tolist()
        ]
        metrics = [f"{name}@{k}" for name in ("hit", "precision", "ndcg") for k in self.k]
        return EmbeddedTask(
            Task(
                name=template,
                search=template,
                relevance=PartialMatch(requested, stated),
                metrics=metrics,
                headlines=[f"precision@{max(self.k)}", f"ndcg@{max(self.k)}"],
            ),
            Search(
                name=template,
                query_rows=np.full(len(texts), NO_ROW),
                gallery_rows=inputs.rows,
                groups=torch.full((len(texts),), UNKNOWN),
                query_names=texts,
            ),
            inputs.weighted(inputs.embed_texts(texts)),
            inputs.image,
        )

    def _words(self, attribute: str, value: str) -> str:
        """The words for a value in a query: *v neck*, *short sleeve*, *red*."""
        plain = " ".join(value.replace("_", " ").lower().split())
        if attribute == "category" or self.schema is None:
            return plain
        phrases = self.schema.phrases(attribute, value)
        alone = [phrase for phrase in phrases if not phrase.endswith("*")]
        if alone:
            return alone[0]
        return f"{plain} {attribute}" if phrases else plain
