"""TensorBoard pages: grouped charts, and the hits of fixed queries after each epoch."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.loggers import TensorBoardLogger

from fashret.data.items import ItemTable
from fashret.engine.callbacks.retrieval import RetrievalEvaluation
from fashret.errors import ConfigError
from fashret.evaluation.split_search import SplitSearch
from fashret.reports.contact_sheet import photo_rows


class Dashboard(pl.Callback):
    """Groups the charts of a run in TensorBoard, and draws the hits of some fixed queries.

    The tab Custom Scalars has the groups overall, attributes, slices, losses, mining, data mix and
    throughput; the tab Images has `queries/image` and `queries/text`, a step an evaluation. Without
    a TensorBoard logger it does nothing.

    Args:
        queries: the number of queries to draw, evenly spaced over all; 0 draws none.
        hits: the number of photos for each query.

    Raises:
        ConfigError: `queries` is negative, or `hits` is below 1.
    """

    def __init__(self, queries: int = 6, hits: int = 8) -> None:
        if queries < 0 or hits < 1:
            raise ConfigError(
                f"callbacks.dashboard: queries={queries} hits={hits}: must be at least 0 and 1"
            )
        self.queries = queries
        self.hits = hits

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the layout of the charts."""
        for writer in _writers(trainer):
            writer.add_custom_scalars(_layout(trainer.datamodule.plan))  # type: ignore[attr-defined]  # Lightning's type has no datamodule

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the current hits of the queries."""
        if trainer.sanity_checking or not self.queries:
            return
        evaluations = [c for c in trainer.callbacks if isinstance(c, RetrievalEvaluation)]  # type: ignore[attr-defined]  # nor callbacks
        if not evaluations or evaluations[0].evaluation is None:
            return
        evaluation, data = evaluations[0].evaluation, trainer.datamodule  # type: ignore[attr-defined]
        for writer in _writers(trainer):
            for mode in [name for name in ("image", "text") if name in evaluation.rankings]:
                ranked = evaluation.rankings[mode].rows.numpy()
                picture = self._picture(data.table, data.plan, mode, ranked)
                if picture is not None:
                    writer.add_image(
                        f"queries/{mode}", picture, trainer.global_step, dataformats="HWC"
                    )

    def _picture(
        self, table: ItemTable, plan: SplitSearch, mode: str, ranked: NDArray[np.int64]
    ) -> NDArray[np.uint8] | None:
        """(height, width, 3) with a row for each query; None if no query of the mode has hits."""
        with_hits = np.flatnonzero((ranked >= 0).any(axis=1))
        if not len(with_hits):
            return None
        spread = np.linspace(0, len(with_hits) - 1, min(self.queries, len(with_hits)))
        titles, categories = table.column("text"), table.column("category")
        rows = []
        for position in with_hits[spread.astype(np.int64)]:
            query = int(plan.queries[position])
            hits = ranked[position, : self.hits]
            items = [int(row) for row in plan.gallery[hits[hits >= 0]]]
            photos = [(table.photo(row), str(categories[row] or "")) for row in items]
            if mode == "image":
                photos.insert(0, (table.photo(query), "the query"))
            rows.append((f"{categories[query] or ''}: {(titles[query] or '')[:100]}", photos))
        return np.asarray(photo_rows(rows))


def _writers(trainer: pl.Trainer) -> list[Any]:
    """The TensorBoard writers, in the process with rank 0."""
    if not trainer.is_global_zero:
        return []
    return [log.experiment for log in trainer.loggers if isinstance(log, TensorBoardLogger)]


def _layout(plan: SplitSearch) -> dict[str, dict[str, list[Any]]]:
    """The charts by group and title, with regular expressions of their tags."""
    attributes = [name for name in plan.described if name != "category"]

    def lines(expression: str) -> list[Any]:
        return ["Multiline", [expression]]

    k = max(plan.options.k)
    key = f"val/(image|text|fused)/{{}}/(precision|hit|mrr)@{k}$"
    judged = {"judged": lines(f"val/(text|composed)/judged/(ndcg|mrr)@{k}$")} if plan.judged else {}
    return {
        "overall": {name: lines(key.format(name)) for name in ("product", "pair", "category")}
        | judged,
        "attributes": {name: lines(f"val/image/{name}/precision@\\d+$") for name in attributes},
        "slices": {
            name: lines(rf"val/image/{name}/precision@{k}\[.*\]$")
            for name in ("category", *attributes)
        },
        "losses": {
            "all": lines("train/loss.*"),
            "accuracy of attributes": lines("train/accuracy_.*"),
        },
        "mining": {
            "hard negatives": lines("train/hard_negatives.*"),
            "tiers": lines("train/loss_(tiers|hard).*"),
        },
        "data mix": {"boosted values": lines("mix/.*")},
        "throughput": {
            "items a second": lines("train/items_per_s"),
            "learning rate": lines("train/lr"),
        },
    }
