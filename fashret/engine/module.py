"""The Lightning module: one training step, one evaluation step, and what a checkpoint holds."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fashret.engine.sharding import clip_by_norm, is_shared_out, shard
from fashret.errors import CheckpointError
from fashret.functional.relations import pair_relations
from fashret.losses import AttributeBlocks, Composite
from fashret.models.retriever import Retriever
from fashret.types import CODES, Batch, Miner

_RETRIEVER = "retriever."


class RetrievalModule(pl.LightningModule):
    """Trains a retriever to find photos by captions and captions by photos.

    Args:
        retriever: what is trained, as `Retriever.set_training` left it.
        loss: over rows, columns and relations; its own parameters learn too.
        miner: chooses among the valid pairs.
        block_loss: what the attribute blocks learn, if there are any.
        optimizer: makes an optimizer of parameter groups.
        scheduler: makes a schedule of an optimizer, given `steps_per_epoch`.
        gather: whether a batch is that of all processes together, not of each its own.
        config: the run's whole configuration as plain containers, kept in every checkpoint.
    """

    def __init__(
        self,
        retriever: Retriever,
        loss: nn.Module,
        miner: Miner,
        block_loss: AttributeBlocks,
        optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer],
        scheduler: Callable[..., LRScheduler],
        config: dict[str, Any],
        *,
        gather: bool = True,
    ) -> None:
        super().__init__()
        self.strict_loading = False  # frozen towers are not in a checkpoint
        self.save_hyperparameters({"config": config}, logger=False)
        self.retriever = retriever
        self.loss = loss
        self.miner = miner
        self.block_loss = block_loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.gather = gather

    def configure_model(self) -> None:
        """Share out the towers where the strategy is for that (`trainer=fsdp`)."""
        if self._shares_out() and not any(map(is_shared_out, self.parameters())):
            others = self.loss, self.block_loss
            shard(self.retriever, others, self.trainer.strategy.root_device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of the photos against the captions."""
        whole, batch = self._gathered(self.retriever(batch), batch)
        layout = self.retriever.layout
        images, texts = (layout.block(embeddings) for embeddings in whole)
        with torch.no_grad():
            several = getattr(self.loss, "several_positives", False)
            relations = pair_relations(batch, batch, several_positives=several)
            relations = self.miner.select(images, texts, relations)
        parts: dict[str, Tensor] = {}
        if isinstance(self.loss, Composite):
            parts = self.loss.parts(images, texts, relations, batch)
        loss: Tensor = sum(parts.values()) if parts else self.loss(images, texts, relations)  # type: ignore[assignment]  # sum's own type has the int 0
        if layout.attributes:
            parts["blocks"] = self.block_loss(*whole, batch, layout)
            loss = loss + parts["blocks"]
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if self.global_step % every == 0:
            self.log("train/loss", loss, prog_bar=True)
            self.log_dict({f"train/loss_{name}": value for name, value in parts.items()})
            if isinstance(self.loss, Composite):
                self.log_dict({f"train/{n}": value for n, value in self.loss.logged().items()})
            self.log_dict({f"train/{n}": value for n, value in self.block_loss.logged.items()})
            self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])
            if isinstance(temperature := getattr(self.loss, "temperature", None), Tensor):
                self.log("train/temperature", temperature)
        return loss

    def _gathered(
        self, embedded: tuple[Tensor, Tensor], batch: Batch
    ) -> tuple[tuple[Tensor, Tensor], Batch]:
        """The embeddings and codes of all processes' batches, as if they were one.

        Every process computes the same loss of them; what it gives back to its own embeddings is
        the sum over the processes, whose mean over the weights (DDP's) is the one batch's gradient.
        """
        if not self.gather or self.trainer.world_size == 1:
            return embedded, batch
        images, texts = (self._of_all(part) for part in embedded)
        codes: Any = {
            name: self._of_all(value)
            for name, value in batch.items()
            if name in CODES and isinstance(value, Tensor)
        }
        return (images, texts), codes

    def _of_all(self, part: Tensor) -> Tensor:
        """(B, ...) of each process -> (processes * B, ...), with its gradient."""
        gathered = self.all_gather(part, sync_grads=part.requires_grad)
        assert isinstance(gathered, Tensor)
        return gathered.flatten(0, 1)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Embed a batch, in full precision whatever the training's."""
        with torch.autocast(self.device.type, enabled=False):
            images, texts = self.retriever(batch)
        return {"index": batch["index"], "image": images, "text": texts}

    def configure_optimizers(self) -> Any:
        """Groups by depth; weight decay for matrices, none for norms, biases and scales."""
        optimizer = self.optimizer(self._groups())
        epochs = self.trainer.max_epochs
        steps = self.trainer.estimated_stepping_batches
        per_epoch = steps / epochs if epochs and epochs > 0 else 1.0
        schedule = self.scheduler(optimizer, steps_per_epoch=per_epoch)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip; tensors that are shared out and others have one norm together."""
        if not self._shares_out():
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            learning = [p for group in optimizer.param_groups for p in group["params"]]
            clip_by_norm(learning, gradient_clip_val)

    def _shares_out(self) -> bool:
        return isinstance(self.trainer.strategy, ModelParallelStrategy)

    def _groups(self) -> list[dict[str, Any]]:
        """What learns, from the heads down: `depth` is for a step that shrinks with it."""
        towers = self.retriever.backbone
        learning = [p for p in self.parameters() if p.requires_grad]
        depths: dict[int, int] = {}
        if (
            towers is not None
            and getattr(self.optimizer, "keywords", {}).get("layer_decay", 1) != 1
        ):
            of_name = towers.depths()
            depths = {id(p): of_name[name] for name, p in towers.named_parameters()}
        groups: dict[tuple[int, bool, bool], list[Tensor]] = {}
        for parameter in learning:
            # Tensors that are shared out cannot be stepped together with others.
            place = depths.get(id(parameter), 0), parameter.ndim <= 1, is_shared_out(parameter)
            groups.setdefault(place, []).append(parameter)
        return [
            {"params": groups[place], "depth": place[0]}
            | ({"weight_decay": 0.0} if place[1] else {})
            for place in sorted(groups)
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what did not learn."""
        checkpoint["state_dict"] = self.what_learned(checkpoint["state_dict"])

    def what_learned(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state of this module without the weights that stay as they are."""
        learned = {_RETRIEVER + name for name in self.retriever.learned_state()}
        return {
            name: value
            for name, value in state.items()
            if name in learned or not name.startswith(_RETRIEVER)
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make sure that the checkpoint holds what learns here, and nothing else."""
        if "state_dict" in checkpoint:  # weights that are shared out were loaded part by part
            check_state(checkpoint["state_dict"], self.retriever)


def check_state(state: Mapping[str, Tensor], retriever: Retriever) -> None:
    """Compare the names and shapes of a checkpoint with what learns.

    Raises:
        CheckpointError: they differ, so that loading would leave weights as they were.
    """
    expected = {_RETRIEVER + name: value for name, value in retriever.learned_state().items()}
    held = {name: value for name, value in state.items() if name.startswith(_RETRIEVER)}
    missing, unexpected = expected.keys() - held.keys(), held.keys() - expected.keys()
    shapes = [n for n in expected.keys() & held.keys() if expected[n].shape != held[n].shape]
    if missing or unexpected or shapes:
        raise CheckpointError(
            f"the checkpoint is of another model: missing {sorted(missing)[:3]}, unexpected "
            f"{sorted(unexpected)[:3]}, of another shape {sorted(shapes)[:3]}"
        )


def load_learned(state: Mapping[str, Tensor], retriever: Retriever) -> None:
    """Give a retriever the weights of a checkpoint.

    Raises:
        CheckpointError: see `check_state`.
    """
    check_state(state, retriever)
    held = {
        name.removeprefix(_RETRIEVER): value
        for name, value in state.items()
        if name.startswith(_RETRIEVER)
    }
    retriever.load_state_dict(held, strict=False)
