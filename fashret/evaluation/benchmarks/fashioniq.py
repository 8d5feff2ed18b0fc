"""FashionIQ: composed retrieval by a reference photo and a text (Wu et al., CVPR 2021)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fashret.data.sources.fashioniq import KINDS, ComposedQuery, composed_queries
from fashret.errors import ConfigError
from fashret.evaluation.benchmarks.base import Benchmark, EmbeddedTask, EvaluationInputs, mean_of
from fashret.evaluation.evaluator import TaskResult
from fashret.functional.relevance import ListedRelevance
from fashret.functional.topk import Excluded
from fashret.tasks.base import Search, Task
from fashret.types import UNKNOWN

_SPLITS = {"train": "train", "validation": "val", "test": "test"}
GALLERIES = ("split", "named")


@dataclass(frozen=True, kw_only=True)
class FashionIQ(Benchmark):
    """FashionIQ: a reference photo and two sentences retrieve the target photo, by category.

    Both galleries that papers use are evaluated; they are not comparable: `split` is every photo of
    the split's list, `named` only those that its captions name. The query is what the model's
    composer makes of photo and text (the plain mean, if it has none), or normalize(w photo +
    (1 - w) text); the text is both sentences joined by "and".

    Args:
        root: the folder of the data set, which holds the captions.
        weight_image: the weight w of the photo, 0 to 1; null for the model's composer.
        exclude_reference: whether the reference photo is excluded from the query's ranking.
        k: the cut-offs of the hit rate.
    """

    root: str | None
    weight_image: float | None = None
    exclude_reference: bool
    k: Sequence[int]

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """Yield one task for each gallery and category."""
        if self.root is None or self.split not in _SPLITS:
            raise ConfigError(
                "protocol=fashioniq needs data=fashioniq data.root=<folder of FashionIQ>"
            )
        root = Path(self.root).expanduser()
        split = _SPLITS[self.split]
        queries_by_kind = {kind: composed_queries(root, kind, split) for kind in KINDS}
        if not any(w.target is not None for queries in queries_by_kind.values() for w in queries):
            raise ConfigError(
                f"protocol.split={self.split}: no caption in {root / 'captions'} has a target"
            )
        known = {name: position for position, name in enumerate(inputs.names())}
        wanted = {
            kind: [w for w in queries if w.reference in known and w.target in known]
            for kind, queries in queries_by_kind.items()
        }
        if not any(wanted.values()):
            raise ConfigError(
                f"protocol.split={self.split}: no query has both its reference and its target "
                "photo in the data; report.json of the prepared data lists the dropped photos"
            )
        for gallery in GALLERIES:
            for kind in KINDS:
                if wanted[kind]:
                    lost = len(queries_by_kind[kind]) - len(wanted[kind])
                    yield self._task(inputs, kind, gallery, wanted[kind], lost, known)

    def _task(
        self,
        inputs: EvaluationInputs,
        kind: str,
        gallery: str,
        wanted: Sequence[ComposedQuery],
        lost: int,
        known: Mapping[str, int],
    ) -> EmbeddedTask:
        named = {name for w in wanted for name in (w.reference, w.target)}
        inside = [name for name in known if name.startswith(f"{kind}/")]
        if gallery == "named":
            inside = [name for name in inside if name in named]
        documents = torch.tensor([known[name] for name in inside], dtype=torch.long)
        gallery_position = {name: i for i, name in enumerate(inside)}
        references = torch.tensor([known[w.reference] for w in wanted], dtype=torch.long)
        texts = inputs.embed_texts([" and ".join(w.texts) for w in wanted])
        composed = self._composed(inputs, inputs.image[references], texts)
        number = torch.arange(len(wanted))
        name = f"{kind} ({gallery} gallery)"
        hits = [f"hit@{k}" for k in self.k]
        excluded = torch.tensor([gallery_position[w.reference] for w in wanted], dtype=torch.long)
        return EmbeddedTask(
            Task(
                name=name,
                search=name,
                relevance=ListedRelevance(
                    number,
                    torch.tensor(
                        [gallery_position[str(w.target)] for w in wanted], dtype=torch.long
                    ),
                    torch.ones(len(wanted), dtype=torch.float64),
                    len(wanted),
                    len(inside),
                ),
                metrics=hits,
                headlines=hits,
                notes=[f"{kind}: {lost} queries without their photos or target"] if lost else [],
            ),
            Search(
                name=name,
                query_rows=inputs.rows_at(references),
                gallery_rows=inputs.rows_at(documents),
                groups=torch.full((len(wanted),), UNKNOWN),
                excluded=Excluded(number, excluded) if self.exclude_reference else None,
                query_names=[f"{w.reference}: {' and '.join(w.texts)}" for w in wanted],
            ),
            inputs.weighted(composed),
            inputs.image[documents],
        )

    def _composed(self, inputs: EvaluationInputs, photos: Tensor, texts: Tensor) -> Tensor:
        """The (q, D) queries of (q, D) reference photos and (q, D) texts."""
        if self.weight_image is None:
            return inputs.compose(photos, texts)
        mixed = self.weight_image * photos + (1.0 - self.weight_image) * texts
        return torch.nn.functional.normalize(mixed, dim=-1)

    def summary(self, results: Sequence[TaskResult]) -> Mapping[str, Mapping[str, float]]:
        """Return the mean over categories for each gallery."""
        by_gallery = {
            gallery: [r for r in results if f"({gallery} gallery)" in r.task.name]
            for gallery in GALLERIES
        }
        return {
            f"mean over kinds ({name} gallery)": mean_of(found)
            for name, found in by_gallery.items()
            if found
        }
