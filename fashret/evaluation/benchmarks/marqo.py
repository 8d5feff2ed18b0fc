"""Marqo's fashion benchmark (github.com/marqo-ai/marqo-FashionCLIP)."""

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
    """Texts and category names against the whole set, by its own files of right answers.

    A file is `ground_truth_<query column>-<document columns>.json`, {query: {document id: 1}}. A
    document of image and text is normalize(0.9 image + 0.1 text). recall@k is hits / relevant,
    mrr is cut at 10; AvgRecall and AvgP are the means of k = 1 and 10.

    Args:
        ground_truth: the folder of the files, `data/<Set>/gt_query_doc` of the benchmark.
        weight_image: of a document of two fields; the text has the rest.
        prompt: what stands before every query.
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
        """A file a row: what a text finds first, categories and the like after it."""
        folder = Path(self.ground_truth).expanduser()
        files = {path: _FILE.fullmatch(path.name) for path in sorted(folder.glob("*.json"))}
        found = {path: match for path, match in files.items() if match is not None}
        if not found:
            raise ConfigError(
                f"protocol.ground_truth={self.ground_truth} holds no "
                "ground_truth_<query column>-<document columns>.json"
            )
        for path, match in sorted(found.items(), key=lambda e: e[1]["query"] != "text"):
            yield self._task(inputs, path, match["query"], match["documents"])

    def _task(
        self, inputs: EvaluationInputs, path: Path, query: str, documents: str
    ) -> EmbeddedTask:
        judged = _judged(path)
        fields = documents.split("+")
        if not set(fields) <= set(_FIELDS):
            raise ConfigError(f"{path}: documents of {documents} are none of image, image+text")
        ids = inputs.names()
        positions = {name: position for position, name in enumerate(ids)}
        pairs = [
            (asked, positions[name], gain)
            for asked, answers in enumerate(judged.values())
            for name, gain in answers.items()
            if name in positions
        ]
        lost = sum(len(answers) for answers in judged.values()) - len(pairs)
        notes = [f"{lost} right answers of {path.name} are not in the data"] if lost else []
        asked, placed, gains = zip(*pairs, strict=True) if pairs else ((), (), ())
        by_text = query == "text"
        whole = ["recall@1", "recall@10", "mrr@10", "precision@1", "precision@10", "ndcg@10"]
        texts = [self.prompt + text for text in judged]
        name = f"{query}-to-{'image' if fields == ['image'] else 'product'}"
        return EmbeddedTask(
            Task(
                name=name,
                search=name,
                relevance=ListedRelevance(
                    torch.tensor(asked, dtype=torch.long),
                    torch.tensor(placed, dtype=torch.long),
                    torch.tensor(gains, dtype=torch.float64),
                    len(judged),
                    len(ids),
                ),
                metrics=whole if by_text else [*whole[3:5], "mrr@10", *whole[:2], "ndcg@10"],
                headlines=["recall@10", "mrr@10"] if by_text else ["precision@10", "mrr@10"],
                notes=notes,
            ),
            Search(
                name=name,
                query_rows=np.full(len(judged), NO_ROW),
                gallery_rows=inputs.rows,
                groups=torch.full((len(judged),), UNKNOWN),
                query_names=list(judged),
            ),
            inputs.weighted(inputs.embed_texts(texts)),
            self._documents(inputs, fields),
        )

    def _documents(self, inputs: EvaluationInputs, fields: list[str]) -> Tensor:
        if len(fields) == 1:
            return inputs.image if fields == ["image"] else inputs.text
        mixed = self.weight_image * inputs.image + (1.0 - self.weight_image) * inputs.text
        return torch.nn.functional.normalize(mixed, dim=-1)


def _judged(path: Path) -> dict[str, dict[str, float]]:
    """Gains by document by query.

    Raises:
        DataError: the file is of another form.
    """
    raw: Any = read_json(path)
    if not isinstance(raw, dict) or not all(isinstance(v, dict) for v in raw.values()):
        raise DataError(f"{path} is not {{query: {{document id: gain}}}}")
    if not raw:
        raise DataError(f"{path} holds no query")
    return {str(q): {str(d): float(g) for d, g in found.items()} for q, found in raw.items()}
