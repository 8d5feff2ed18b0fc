"""LookBench: photo to photo retrieval with fine and coarse labels (arXiv 2601.14706)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fashret.evaluation.benchmarks.base import Benchmark, EmbeddedTask, EvaluationInputs
from fashret.functional.relevance import CodeRelevance
from fashret.tasks.base import Search, Task
from fashret.types import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class LookBench(Benchmark):
    """LookBench: query photos retrieve gallery photos; fine and coarse labels.

    The coarse label is the category, the fine label the category with all attributes. hit@k is the
    paper's Recall@k. nDCG is of each label, as the official evaluator computes it. A query without
    a relevant item counts as 0.
    """

    metrics: tuple[str, ...] = field(
        default=("hit@1", "hit@5", "hit@10", "ndcg@5", "mrr@10"), init=False
    )

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """Yield the tasks of the fine and of the coarse label."""
        queries, gallery = inputs.role("query"), inputs.role("gallery")
        positions = torch.arange(len(inputs.rows))
        labels = {"fine": _fine(inputs), "coarse": inputs.code("category", positions)}
        for name, codes in labels.items():
            yield EmbeddedTask(
                Task(
                    name=name,
                    search=name,
                    relevance=CodeRelevance(codes[queries], codes[gallery]),
                    metrics=self.metrics,
                    headlines=self.metrics,
                    zero_without_answer=True,
                ),
                Search(
                    name=name,
                    query_rows=inputs.rows_at(queries),
                    gallery_rows=inputs.rows_at(gallery),
                    groups=torch.full((len(queries),), UNKNOWN),
                ),
                inputs.weighted(inputs.image[queries]),
                inputs.image[gallery],
            )


def _fine(inputs: EvaluationInputs) -> Tensor:
    """(n,) codes of the category with all attributes; what is not stated is a value here."""
    positions = torch.arange(len(inputs.rows))
    parts = [inputs.code(name, positions) for name in inputs.table.categorical_columns]
    codes = torch.stack(parts, dim=1).unique(dim=0, return_inverse=True)[1]
    return torch.where(parts[0] == UNKNOWN, UNKNOWN, codes)
