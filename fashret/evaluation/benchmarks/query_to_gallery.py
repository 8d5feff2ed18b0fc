"""DeepFashion's retrieval benchmarks: a query photo retrieves photos of its product."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fashret.evaluation.benchmarks.base import Benchmark, EmbeddedTask, EvaluationInputs
from fashret.functional.relevance import CodeRelevance
from fashret.tasks.base import Search, Task


@dataclass(frozen=True, kw_only=True)
class QueryToGallery(Benchmark):
    """In-shop and consumer-to-shop retrieval by photo: hit@k, which papers call Recall@k.

    All colours of a product count as one product (Liu et al., DeepFashion, CVPR 2016).

    Args:
        k: the cut-offs of the hit rate.
        label: the name in metric keys: inshop or consumer2shop.
    """

    k: Sequence[int]
    label: str

    @property
    def name(self) -> str:
        """The name of the benchmark in metric keys."""
        return self.label

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """Yield the one task of the benchmark."""
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
