"""Text queries as shoppers type them: a few words, made of what is known of the items."""

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
    """*red v-neck cardigan* against the photos; every combination that an item has is asked once.

    An item that has every asked value is right; one of the kind that has some of them is right
    in part, which nDCG counts: of three words two are worth two thirds. An item of another kind
    is wrong, and a value that an item does not state does not fit.

    Args:
        templates: what is asked, such as "{colour} {category}"; every one needs the category.
            Those with an attribute that the data lack are left out.
        schema: the words that a value is asked by: the first phrase that stands on its own.
        max_queries: so many of a template at most, a seeded sample.
        seed: of the sample.
        k: the cut-offs.
    """

    templates: Sequence[str]
    schema: Schema | None
    max_queries: int
    seed: int
    k: Sequence[int]

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """A template a row."""
        asked = 0
        for template in self.templates:
            names = [name for _, name, _, _ in string.Formatter().parse(template) if name]
            if "category" not in names:
                raise ConfigError(f"protocol.templates: '{template}' has no {{category}}")
            if set(names) <= set(inputs.table.categorical_columns):
                task = self._task(inputs, template, names)
                if task is not None:
                    asked += 1
                    yield task
        if not asked:
            raise ConfigError(
                "protocol=keyword: no template can be filled; the data has "
                f"{', '.join(inputs.table.categorical_columns)}"
            )

    def _task(
        self, inputs: EvaluationInputs, template: str, names: list[str]
    ) -> EmbeddedTask | None:
        names = ["category", *(name for name in names if name != "category")]
        positions = torch.arange(len(inputs.rows))
        stated = torch.stack([inputs.code(name, positions) for name in names], dim=1)
        asked = stated[(stated != UNKNOWN).all(dim=1)].unique(dim=0)
        if not len(asked):
            return None
        if len(asked) > self.max_queries:
            rng = np.random.default_rng(self.seed)
            chosen = np.sort(rng.choice(len(asked), self.max_queries, replace=False))
            asked = asked[torch.from_numpy(chosen)]
        values = {name: inputs.codes.labels[name][1] for name in names}
        texts = [
            template.format_map(
                {
                    name: self._words(name, values[name][code])
                    for name, code in zip(names, row, strict=True)
                }
            )
            for row in asked.tolist()
        ]
        metrics = [f"{name}@{k}" for name in ("hit", "precision", "ndcg") for k in self.k]
        return EmbeddedTask(
            Task(
                name=template,
                search=template,
                relevance=PartialMatch(asked, stated),
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
        """How a value is typed: *v neck*, *short sleeve*, *red*."""
        plain = " ".join(value.replace("_", " ").lower().split())
        if attribute == "category" or self.schema is None:
            return plain
        phrases = self.schema.phrases(attribute, value)
        alone = [phrase for phrase in phrases if not phrase.endswith("*")]
        if alone:
            return alone[0]
        return f"{plain} {attribute}" if phrases else plain
