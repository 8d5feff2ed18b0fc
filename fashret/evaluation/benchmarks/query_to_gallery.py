"""DeepFashion's retrieval protocols: a photo finds another photo of its product."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fashret.evaluation.benchmarks.base import OfficialProtocol, Stage
from fashret.functional.relevance import Equal
from fashret.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class QueryToGallery(OfficialProtocol):
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

    def tasks(self, stage: Stage) -> Iterator[Task]:
        """One row."""
        queries, gallery = stage.role("query"), stage.role("gallery")
        yield Task(
            name="query-to-gallery",
            queries=stage.weighted(stage.image[queries]),
            documents=stage.image[gallery],
            query_names=stage.names(queries),
            document_names=stage.names(gallery),
            relevance=Equal(stage.code("product", queries), stage.code("product", gallery)),
            metrics=[f"hit@{k}" for k in self.k],
            units=stage.code("product", queries),
        )
