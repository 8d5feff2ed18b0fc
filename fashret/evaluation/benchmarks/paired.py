"""Paired retrieval: a caption and its photo in both directions, as open_clip reports it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from fashret.errors import ConfigError
from fashret.evaluation.benchmarks.base import Benchmark, EmbeddedTask, EvaluationInputs
from fashret.functional.relevance import CodeRelevance
from fashret.tasks.base import Search, Task
from fashret.types import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Paired(Benchmark):
    """Paired retrieval: only its own photo is relevant to a text, and only its own text to a photo.

    An equal caption of another item is not relevant: with few distinct captions the ceiling is low;
    `text/pair` of the split's scoreboard counts equal captions as relevant instead.

    Args:
        k: the cut-offs of the hit rate.
    """

    k: Sequence[int]

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """Yield the tasks text to image and image to text."""
        positions = torch.arange(len(inputs.rows))
        positions = positions[inputs.code("caption", positions) != UNKNOWN]
        if not len(positions):
            raise ConfigError("protocol=paired: no item of the data has a text")
        own = torch.arange(len(positions))
        sides = {"text": inputs.text[positions], "image": inputs.image[positions]}
        for source, target in (("text", "image"), ("image", "text")):
            name, product = f"{source}-to-{target}", inputs.code("product", positions)
            hits = [f"hit@{k}" for k in self.k]
            yield EmbeddedTask(
                Task(name, name, CodeRelevance(own, own), metrics=hits, headlines=hits),
                Search(
                    name=name,
                    query_rows=inputs.rows_at(positions),
                    gallery_rows=inputs.rows_at(positions),
                    groups=product,
                    gallery_groups=product,
                ),
                inputs.weighted(sides[source]),
                sides[target],
            )
