"""LookBench (arXiv 2601.14706)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fashret.evaluation.benchmarks.base import OfficialProtocol, Stage
from fashret.functional.relevance import Equal
from fashret.tasks.base import Task
from fashret.types import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class LookBench(OfficialProtocol):
    """Queries against the gallery, by photo: fine is the category and every attribute alike.

    hit@k is its Recall@k. nDCG is of the fine label, as its evaluator computes it. A query
    without a right answer counts as 0.
    """

    metrics: tuple[str, ...] = field(
        default=("hit@1", "hit@5", "hit@10", "ndcg@5", "mrr@10"), init=False
    )

    def tasks(self, stage: Stage) -> Iterator[Task]:
        """Fine and coarse."""
        queries, gallery = stage.role("query"), stage.role("gallery")
        places = torch.arange(len(stage.rows))
        labels = {"fine": _fine(stage), "coarse": stage.code("category", places)}
        for name, codes in labels.items():
            yield Task(
                name=name,
                queries=stage.weighted(stage.image[queries]),
                documents=stage.image[gallery],
                query_names=stage.names(queries),
                document_names=stage.names(gallery),
                relevance=Equal(codes[queries], codes[gallery]),
                metrics=self.metrics,
                zero_without_answer=True,
            )


def _fine(stage: Stage) -> Tensor:
    """(n,) codes of the category with all attributes; what is not stated is a value here."""
    places = torch.arange(len(stage.rows))
    parts = [stage.code(name, places) for name in stage.table.described]
    codes = torch.stack(parts, dim=1).unique(dim=0, return_inverse=True)[1]
    return torch.where(parts[0] == UNKNOWN, UNKNOWN, codes)
