"""What an epoch was made of."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from fashret.data.balance import KNOWN


class DataMix(pl.Callback):
    """Logs at the end of an epoch how large a share of its items each boosted value had.

    The names are `mix/<attribute>[<value>]`. Without `data.balance` there is nothing to log.
    """

    def __init__(self) -> None:
        self._counted: dict[str, Tensor] = {}
        self._counts: dict[str, float] = {}
        self._items = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the items of each boosted value."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning's type has none
        boosts: Mapping[str, Mapping[str, float]] = getattr(data.source.balance, "boosts", {})
        self._counted = {}
        for name in boosts:
            codes, values = data.codes.described[name]
            for value in boosts[name]:
                has = codes >= 0 if value == KNOWN else codes == values.index(value)
                self._counted[f"mix/{name}[{value}]"] = has

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        self._counts = dict.fromkeys(self._counted, 0.0)
        self._items = 0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count a batch."""
        if not self._counted:
            return
        rows = batch["index"].cpu()
        self._items += len(rows)
        for name, has in self._counted.items():
            self._counts[name] += float(has[rows].sum())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the shares, over all processes."""
        for name, count in self._counts.items():
            share = count / max(1, self._items)
            pl_module.log(name, share, sync_dist=trainer.world_size > 1)
