"""Marqo's fashion benchmark: texts and categories (github.com/marqo-ai/marqo-FashionCLIP)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fashret.data.on_disk import read_json
from fashret.errors import ConfigError, DataError
from fashret.evaluation.benchmarks.base import Benchmark, EmbeddedTask, EvaluationInputs
from fashret.functional.relevance import ListedRelevance
from fashret.tasks.base import NO_ROW, Search, Task
from fashret.types import UNKNOWN

_FILE = re.compile(r"ground_truth_(?P<query>.+)-(?P<documents>[^-]+)\.json")
_FIELDS = ("image", "text")


@dataclass(frozen=True, kw_only=True)
class Marqo(Benchmark):
    """Marqo's benchmark: texts and category names retrieve items, with ground truth from files.

    A file is `ground_truth_<query column>-<document columns>.json`, {query: {document id: 1}}. A
    document of image and text is normalize(0.9 image + 0.1 text). recall@k is hits / relevant,
    mrr is cut at 10; AvgRecall and AvgP are the means of k = 1 and 10.

    Args:
        ground_truth: the folder of the files, `data/<Set>/gt_query_doc` of the benchmark.
        weight_image: the image's weight, 0 to 1, in a document of image and text.
        prompt: the prefix of every query.
    """

    ground_truth: str
    weight_image: float
    prompt: str

    def __post_init__(self) -> None:
        averages = {
            "AvgRecall": ("recall@1", "recall@10"),
            "AvgP": ("precision@1", "precision@10"),
        }
        object.__setattr__(self, "averages", averages)

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """Yield one task for each ground-truth file, text queries first."""
        folder = Path(self.ground_truth).expanduser()
        files = {path: _FILE.fullmatch(path.name) for path in sorted(folder.glob("*.json"))}
        matched = {path: match for path, match in files.items() if match is not None}
        if not matched:
            raise ConfigError(
                f"protocol.ground_truth={self.ground_truth} contains no file "
                "ground_truth_<query column>-<document columns>.json"
            )
        for path, match in sorted(matched.items(), key=lambda e: e[1]["query"] != "text"):
            yield self._task(inputs, path, match["query"], match["documents"])

    def _task(
        self, inputs: EvaluationInputs, path: Path, query: str, documents: str
    ) -> EmbeddedTask:
        ground_truth = _read_ground_truth(path)
        fields = documents.split("+")
        if not set(fields) <= set(_FIELDS):
            raise ConfigError(
                f"{path}: documents of {documents} are not supported; the fields are image, text"
            )
        ids = inputs.names()
        positions = {name: position for position, name in enumerate(ids)}
        pairs = [
            (number, positions[name], gain)
            for number, answers in enumerate(ground_truth.values())
            for name, gain in answers.items()
            if name in positions
        ]
        lost = sum(len(answers) for answers in ground_truth.values()) - len(pairs)
        notes = [f"{lost} relevant documents of {path.name} are not in the data"] if lost else []
        queries, documents_idx, gains = zip(*pairs, strict=True) if pairs else ((), (), ())
        by_text = query == "text"
        whole = ["recall@1", "recall@10", "mrr@10", "precision@1", "precision@10", "ndcg@10"]
        texts = [self.prompt + text for text in ground_truth]
        name = f"{query}-to-{'image' if fields == ['image'] else 'product'}"
        return EmbeddedTask(
            Task(
                name=name,
                search=name,
                relevance=ListedRelevance(
                    torch.tensor(queries, dtype=torch.long),
                    torch.tensor(documents_idx, dtype=torch.long),
                    torch.tensor(gains, dtype=torch.float64),
                    len(ground_truth),
                    len(ids),
                ),
                metrics=whole if by_text else [*whole[3:5], "mrr@10", *whole[:2], "ndcg@10"],
                headlines=["recall@10", "mrr@10"] if by_text else ["precision@10", "mrr@10"],
                notes=notes,
            ),
            Search(
                name=name,
                query_rows=np.full(len(ground_truth), NO_ROW),
                gallery_rows=inputs.rows,
                groups=torch.full((len(ground_truth),), UNKNOWN),
                query_names=list(ground_truth),
            ),
            inputs.weighted(inputs.embed_texts(texts)),
            self._documents(inputs, fields),
        )

    def _documents(self, inputs: EvaluationInputs, fields: list[str]) -> Tensor:
        if len(fields) == 1:
            return inputs.image if fields == ["image"] else inputs.text
        mixed = self.weight_image * inputs.image + (1.0 - self.weight_image) * inputs.text
        return torch.nn.functional.normalize(mixed, dim=-1)


def _read_ground_truth(path: Path) -> dict[str, dict[str, float]]:
    """Read the gains of each query's documents.

    Raises:
        DataError: the file has another structure, or no query.
    """
    raw: Any = read_json(path)
    if not isinstance(raw, dict) or not all(isinstance(v, dict) for v in raw.values()):
        raise DataError(f"{path} must be a JSON object {{query: {{document id: gain}}}}")
    if not raw:
        raise DataError(f"{path} contains no query")
    return {str(q): {str(d): float(g) for d, g in found.items()} for q, found in raw.items()}
