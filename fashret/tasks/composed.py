"""A photo and words find the photo that differs as the words say: `task=composed`."""

from dataclasses import dataclass

from torch import Tensor

from fashret.tasks.judged import JudgedTask


@dataclass(frozen=True, kw_only=True)
class ComposedTask(JudgedTask):
    """Trains composed queries against their targets, by triples of reference, text and target.

    The query is what the model's `composer` makes of the embeddings of the reference photo and of
    the text. All photos of a batch that are not a target of the query are negatives, its own
    reference among them.

    Args:
        weight: weight of the task's loss where a run has several tasks, above 0.
        memory: embeddings of earlier batches that are further columns of the loss; 0 for none.
        composer: what makes a query of its two parts, sum or gated; `model.composer` follows it.
    """

    composer: str = "sum"

    name = "composed"
    metric = "composed/judged/mrr@10"
    key = "data.triples"

    def sides(self, images: Tensor, texts: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Compare composed queries with photos."""
        return queries, images
