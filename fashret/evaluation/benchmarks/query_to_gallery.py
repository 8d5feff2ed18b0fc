"""DeepFashion's retrieval protocols: a photo finds another photo of its product."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fashret.evaluation.benchmarks.base import Benchmark, EmbeddedTask, EvaluationInputs
from fashret.functional.relevance import CodeRelevance
from fashret.tasks.base import Search, Task


@dataclass(frozen=True, kw_only=True)
class QueryToGallery(Benchmark):
    """Every query against the whole gallery, by photo: hit rates (papers say Recall@k).

    The product is the item whatever its colour. Liu et al., DeepFashion, CVPR 2016.

    Args:
        k: the cut-offs that are printed.
        label: inshop or consumer2shop, as keys call it.
    """

    k: Sequence[int]
    label: str

    @property
    def name(self) -> str:
        """As keys call it."""
        return self.label

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """One row."""
        queries, gallery = inputs.role("query"), inputs.role("gallery")
        product = inputs.code("product", queries)
        hits = [f"hit@{k}" for k in self.k]
        yield EmbeddedTask(
            Task(
                name="query-to-gallery",
                search="query-to-gallery",
                relevance=CodeRelevance(product, inputs.code("product", gallery)),
                metrics=hits,
                headlines=hits,
            ),
            Search(
                name="query-to-gallery",
                query_rows=inputs.rows_at(queries),
                gallery_rows=inputs.rows_at(gallery),
                groups=product,
            ),
            inputs.weighted(inputs.image[queries]),
            inputs.image[gallery],
        )
