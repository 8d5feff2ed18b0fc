"""Search logs: typed queries, and items that were clicked, bought or graded for them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from fashret.data.judgments import Judgments, frequency_bands, read_judgments
from fashret.errors import ConfigError
from fashret.evaluation.benchmarks.base import Benchmark, EmbeddedTask, EvaluationInputs
from fashret.functional.relevance import ListedRelevance
from fashret.tasks.base import NO_ROW, Search, Task
from fashret.types import UNKNOWN

BANDS = ("head", "torso", "tail")
"""The queries by frequency: `fashret.data.judgments.frequency_bands`."""


@dataclass(frozen=True, kw_only=True)
class SearchLog(Benchmark):
    """A search log: typed queries retrieve items, with grades such as clicks or purchases.

    An item of a grade above 0 is relevant; nDCG takes the grades as linear gains, as trec_eval
    does. An item is a photo, a text, or normalize(w photo + (1 - w) text).

    Args:
        split: the split of the items that are searched; null for the one that is evaluated, `all`
            for all items.
        judgments: the file or folder, see `fashret.data.judgments.read_judgments`.
        queries: for TREC qrels, the file of query ids and texts.
        transform: what makes a grade of a summed weight: linear, log1p or rank.
        query_split: the split of the queries that are evaluated; a query without a split always is.
        splits: share of each split, for queries without a stated one; null leaves them without.
        split_seed: seed of the assignment of queries to splits.
        weight_image: weight w of the photo in an item, 0 to 1.
        k: the cut-offs.

    Raises:
        ConfigError: a value is out of its range.
    """

    judgments: str
    queries: str | None = None
    transform: str = "linear"
    query_split: str = "test"
    splits: Mapping[str, float] | None = None
    split_seed: int = 0
    weight_image: float = 1.0
    k: Sequence[int] = (1, 10)

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight_image <= 1.0:
            raise ConfigError(
                f"protocol.weight_image={self.weight_image}: it must be within 0 and 1"
            )

    @property
    def name(self) -> str:
        """The name of the benchmark in metric keys."""
        return "search_log"

    def tasks(self, inputs: EvaluationInputs) -> Iterator[EmbeddedTask]:
        """Yield the task of all queries, and one for each band of their frequency."""
        read = read_judgments(
            self.judgments,
            queries=self.queries,
            transform=self.transform,
            shares=self.splits or None,
            seed=self.split_seed,
        )
        whole, bands = self._task(inputs, read)
        yield whole
        for number, band in enumerate(BANDS):
            chosen = np.flatnonzero(bands == number)
            if 0 < len(chosen) < len(bands):
                name = f"judged {band}"
                yield EmbeddedTask(
                    replace(whole.task.subset(chosen), name=name, search=name, notes=()),
                    replace(whole.search.subset(chosen), name=name),
                    whole.queries[torch.from_numpy(chosen).to(whole.queries.device)],
                    whole.gallery,
                )

    def _task(
        self, inputs: EvaluationInputs, read: Judgments
    ) -> tuple[EmbeddedTask, NDArray[np.int64]]:
        """The task of all queries of the split, and the band of each."""
        wanted = [i for i, split in enumerate(read.splits) if split in ("", self.query_split)]
        positions = {name: position for position, name in enumerate(inputs.names())}
        number = {query: i for i, query in enumerate(wanted)}
        kept = [
            (number[int(query)], positions[item], grade)
            for query, item, grade in zip(
                read.query.tolist(), read.item_id, read.grade.tolist(), strict=True
            )
            if int(query) in number and item in positions
        ]
        judged = sum(int(query) in number for query in read.query.tolist())
        if not kept:
            searched = next(iter(positions), "none")
            named = ", ".join(list(dict.fromkeys(read.item_id))[:3])
            raise ConfigError(
                f"protocol.judgments={self.judgments}: none of its {judged} judgments of "
                f"{self.query_split} queries is of an item that is searched, such as {searched}; "
                f"it names {named}"
            )
        notes = [f"{count} rows of the judgments: {why}" for why, count in read.dropped.items()]
        if judged > len(kept):
            notes.append(f"{judged - len(kept)} judgments are of items that are not in the data")
        query, document, grade = (np.array(column) for column in zip(*kept, strict=True))
        largest = np.zeros(len(wanted))
        np.maximum.at(largest, query, grade)
        gains = grade / np.where(largest > 0, largest, 1.0)[query]
        names = [f"{m}@{k}" for m in ("ndcg", "map", "map_cut", "mrr", "recall") for k in self.k]
        texts = [read.queries[i] for i in wanted]
        task = Task(
            name="judged",
            search="judged",
            relevance=ListedRelevance(
                torch.from_numpy(query),
                torch.from_numpy(document),
                torch.from_numpy(gains),
                len(wanted),
                len(positions),
                least_gain=float(np.finfo(np.float64).tiny),
            ),
            metrics=names,
            headlines=[f"ndcg@{max(self.k)}", f"mrr@{max(self.k)}"],
            notes=notes,
        )
        search = Search(
            name="judged",
            query_rows=np.full(len(wanted), NO_ROW),
            gallery_rows=inputs.rows,
            groups=torch.full((len(wanted),), UNKNOWN),
            query_names=texts,
        )
        embedded = EmbeddedTask(
            task, search, inputs.weighted(inputs.embed_texts(texts)), self._items(inputs)
        )
        return embedded, frequency_bands(read.frequency[wanted])

    def _items(self, inputs: EvaluationInputs) -> Tensor:
        """The items' embeddings; the photo alone where an item has no text."""
        if self.weight_image == 1.0:
            return inputs.image
        has_text = (inputs.text != 0).any(dim=1, keepdim=True)
        mixed = self.weight_image * inputs.image + (1.0 - self.weight_image) * inputs.text
        return torch.where(has_text, normalize(mixed, dim=-1), inputs.image)
