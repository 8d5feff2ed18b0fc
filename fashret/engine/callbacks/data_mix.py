"""Log the composition of the training batches of an epoch."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from fashret.data.balance import KNOWN


class DataMix(pl.Callback):
    """Logs the composition of an epoch's batches, after balancing and mining.

    `mix/items_seen` is the share of training items seen since training began. With
    `data.balance` there are also `mix/<attribute>[<value>]`, the share of each boosted value among
    the items of the epoch, and `mix/largest_share[<attribute>]`, the largest share that one value
    had of a batch, which `data.balance.most` limits.
    """

    def __init__(self) -> None:
        self._boosted: dict[str, Tensor] = {}
        self._limited: dict[str, tuple[Tensor, int]] = {}
        self._seen = torch.zeros(0, dtype=torch.bool)
        self._begin()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look up the items of each boosted value."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning's type has none
        boosts: Mapping[str, Mapping[str, float]] = getattr(data.source.balance, "boosts", {})
        # Everything is counted on the training's device, which then never waits for a count.
        device = pl_module.device
        self._boosted, self._limited = {}, {}
        for name in boosts:
            codes, values = data.codes.labels[name]
            self._limited[name] = (codes.to(device), len(values))
            for value in boosts[name]:
                has = codes >= 0 if value == KNOWN else codes == values.index(value)
                self._boosted[f"mix/{name}[{value}]"] = has.to(device)
        if len(self._seen) != len(data.table):
            self._seen = torch.zeros(len(data.table), dtype=torch.bool)
        self._seen = self._seen.to(device)

    def state_dict(self) -> dict[str, Any]:
        """Return the seen items, so that a resumed run continues to count."""
        return {"seen": self._seen.cpu()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the seen items."""
        self._seen = state_dict["seen"]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the counts."""
        self._begin()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the items of a batch."""
        for part in batch.values():
            self._count(part["index"].to(self._seen.device))

    def _count(self, rows: Tensor) -> None:
        self._items += len(rows)
        self._seen[rows] = True
        for name, has in self._boosted.items():
            self._counts[name] = (
                self._counts.get(name, torch.zeros_like(has[0], dtype=torch.long)) + has[rows].sum()
            )
        for name, (codes, number) in self._limited.items():
            counts = torch.zeros(number + 1, device=rows.device)  # the last one is of UNKNOWN
            counts.index_add_(0, codes[rows] % (number + 1), torch.ones_like(rows).float())
            largest = counts[:-1].max() / len(rows)
            self._largest[name] = torch.maximum(self._largest.get(name, largest), largest)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the shares, over all processes."""
        several = trainer.world_size > 1
        for name, count in self._counts.items():
            pl_module.log(name, count / max(1, self._items), sync_dist=several)
        for name, largest in self._largest.items():
            name = f"mix/largest_share[{name}]"
            pl_module.log(name, largest, sync_dist=several, reduce_fx="max")
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning's type has none
        if several:
            seen = trainer.strategy.reduce(self._seen.float(), reduce_op="sum")
            self._seen = seen > 0
        rows = data.table.rows("train") if data.training is None else data.training.rows
        pl_module.log("mix/items_seen", self._seen[torch.as_tensor(rows)].float().mean())

    def _begin(self) -> None:
        self._counts: dict[str, Tensor] = {}
        self._largest: dict[str, Tensor] = {}
        self._items = 0
