"""A caption and its photo, both directions: what open_clip reports of a validation set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from fashret.errors import ConfigError
from fashret.evaluation.benchmarks.base import OfficialProtocol, Stage
from fashret.functional.relevance import Equal
from fashret.tasks.base import Task
from fashret.types import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Paired(OfficialProtocol):
    """Only an item's own photo is right for its text, and only its own text for its photo.

    So it is for an equal caption of another item too: a set of few distinct captions has a low
    ceiling here, which `text/pair` of the default protocol has not.

    Args:
        k: the cut-offs.
    """

    k: Sequence[int]

    def tasks(self, stage: Stage) -> Iterator[Task]:
        """Text to image, and image to text."""
        places = torch.arange(len(stage.rows))
        places = places[stage.code("caption", places) != UNKNOWN]
        if not len(places):
            raise ConfigError("protocol=paired: no item of the data has a text")
        own = torch.arange(len(places))
        sides = {"text": stage.text[places], "image": stage.image[places]}
        for asked, found in (("text", "image"), ("image", "text")):
            yield Task(
                name=f"{asked}-to-{found}",
                queries=stage.weighted(sides[asked]),
                documents=sides[found],
                query_names=stage.names(places),
                document_names=stage.names(places),
                relevance=Equal(own, own),
                metrics=[f"hit@{k}" for k in self.k],
                units=stage.code("product", places),
            )
