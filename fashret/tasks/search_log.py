"""Typed texts find the items that were clicked for them: `task=search_log`."""

from dataclasses import dataclass

from torch import Tensor

from fashret.errors import ConfigError
from fashret.functional.documents import DOCUMENTS, documents
from fashret.tasks.judged import JudgedTask
from fashret.types import Batch


@dataclass(frozen=True, kw_only=True)
class SearchLogTask(JudgedTask):
    """Trains typed texts against items, by the judgments of `data.judgments`.

    An item with a grade above 0 is a positive of every query that it has the grade for, and the
    grade weighs it (generalised contrastive learning, Zhu et al., 2024). One of grade 0 is a
    negative, and so are the other items of a batch, but for the answers of queries that have a
    relevant item in common with this one.

    Args:
        weight: weight of the task's loss where a run has several tasks, above 0.
        memory: embeddings of earlier batches that are further columns of the loss; 0 for none.
        documents: what stands for an item: its photo (image), its text (text), or both (mixed).
        weight_image: weight of the photo in a mixed item, 0 to 1.
        ignore_related: whether answers of queries that have a relevant item in common are left out
            of one another's negatives; false takes them for negatives.

    Raises:
        ConfigError: a value is out of its range.
    """

    documents: str = "image"
    weight_image: float = 0.7
    ignore_related: bool = True

    name = "search_log"
    metric = "text/judged/ndcg@10"
    key = "data.judgments"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.documents not in DOCUMENTS or not 0.0 <= self.weight_image <= 1.0:
            raise ConfigError(
                f"task.search_log: documents={self.documents} must be one of "
                f"{', '.join(DOCUMENTS)}, and weight_image={self.weight_image} within 0 and 1"
            )

    @property
    def reads_text(self) -> bool:
        """Whether the items' texts are part of the documents."""
        return self.documents != "image"

    def asked(self, columns: Batch) -> Tensor | None:
        """Return the queries that columns answer, if related ones are ignored."""
        return columns.get("asked") if self.ignore_related else None

    def sides(self, images: Tensor, texts: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Compare queries with documents."""
        return queries, documents(self.documents, images, texts, self.weight_image)
