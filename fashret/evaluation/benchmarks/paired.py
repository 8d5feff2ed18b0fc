"""A caption and its photo, both directions: what open_clip reports of a validation set."""

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
    """Only an item's own photo is right for its text, and only its own text for its photo.

    So it is for an equal caption of another item too: a set of few distinct captions has a low
    ceiling here, which `text/pair` of the default protocol has not.

    Args:
        k: the cut-offs.
    """

    k: Sequence[int]

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """Text to image, and image to text."""
        positions = torch.arange(len(inputs.rows))
        positions = positions[inputs.code("caption", positions) != UNKNOWN]
        if not len(positions):
            raise ConfigError("protocol=paired: no item of the data has a text")
        own = torch.arange(len(positions))
        sides = {"text": inputs.text[positions], "image": inputs.image[positions]}
        for asked, found in (("text", "image"), ("image", "text")):
            name, product = f"{asked}-to-{found}", inputs.code("product", positions)
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
                inputs.weighted(sides[asked]),
                sides[found],
            )
