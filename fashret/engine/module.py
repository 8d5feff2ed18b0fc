"""The Lightning module: the training step, the validation step, and the checkpoint's weights."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import reduce
from operator import add
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fashret.engine.memory import retry_forward, retry_step
from fashret.engine.memory_bank import MemoryBank
from fashret.engine.sharding import clip_by_norm, is_sharded, local_part, shard
from fashret.engine.weight_decay import DecayToInitial
from fashret.errors import TrainingError
from fashret.functional.judged import JudgedPairs
from fashret.losses import AttributeBlocks, Composite
from fashret.losses.composite import contrastive_part
from fashret.miners.base import Miner
from fashret.models.checkpoint import RETRIEVER, check_state
from fashret.models.retriever import Retriever
from fashret.tasks import CaptionTask
from fashret.tasks.training import TrainingTask
from fashret.types import CODES, UNKNOWN, Batch, JudgedQueries, Relations


class RetrievalModule(pl.LightningModule):
    """Trains a retriever for one task or several, such as to find photos by captions.

    Args:
        retriever: the model, after `Retriever.set_training`.
        loss: the loss over rows, columns and relations; its own parameters are trained too.
        miner: selects among the valid pairs of a batch.
        block_loss: the loss of the attribute heads; unused without attribute heads.
        optimizer: makes an optimizer from parameter groups.
        scheduler: makes a learning-rate schedule from an optimizer and `steps_per_epoch`.
        gather: whether the loss is over the batches of all processes together.
        decay_to_initial: whether weight decay pulls heads towards their initial values (those of
            a pretrained model) instead of zero.
        config: the run's whole configuration as plain containers, kept in every checkpoint.
        tasks: what is trained for. Tasks after the first have a copy of the contrastive loss, so
            that each learns a temperature of its own.
        queries: the judged training queries of the tasks that have them, by the task's name.
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
        tasks: Sequence[TrainingTask] = (CaptionTask(),),
        queries: Mapping[str, JudgedQueries] | None = None,
        gather: bool = True,
        decay_to_initial: bool = True,
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
        self.tasks = tasks
        self.task_losses = nn.ModuleDict(
            {task.name: deepcopy(contrastive_part(loss)) for task in tasks[1:]}
        )
        dim = retriever.image_head.out_features
        self.memories = nn.ModuleDict(
            {task.name: MemoryBank(task.memory, dim) for task in tasks if task.memory}
        )
        # No buffers: DistributedDataParallel would send a whole log in every step.
        self.judged = {name: JudgedPairs(one) for name, one in (queries or {}).items()}
        self.gather = gather
        self._initial = {
            name: parameter.detach().clone()
            for name, parameter in self.named_parameters()
            if decay_to_initial and parameter.requires_grad and _is_head(name)
        }
        self._decay = DecayToInitial({})
        self._logged: dict[str, Tensor | float] = {}
        self._stepped = self._learns = False

    def configure_model(self) -> None:
        """Shard the towers over the processes if the strategy does so (`trainer=fsdp`)."""
        if self._is_sharded_run() and not any(map(is_sharded, self.parameters())):
            others = self.loss, self.block_loss
            shard(self.retriever, others, self.trainer.strategy.root_device)

    def training_step(self, step: Mapping[str, Batch], batch_idx: int) -> Tensor:
        """Compute the weighted sum of the tasks' losses, each on a batch of its own.

        Args:
            step: the batch of each task, by its name.
            batch_idx: number of the step in the epoch.
        """
        losses: list[Tensor] = []
        values: dict[str, Tensor | float] = {}
        is_logged = self._is_logged(batch_idx)
        for task in self.tasks:
            parts, relations = self._task_loss(task, step[task.name])
            losses.append(task.weight * reduce(add, parts.values()))
            if is_logged:
                prefix = "train/" if len(self.tasks) == 1 else f"train/{task.name}_"
                values |= _logged_of(prefix, parts, relations)
        loss = reduce(add, losses)
        if is_logged:
            self._logged = {"train/loss": loss.detach(), **values, **self._logged_of_losses()}
        return loss

    def _task_loss(
        self, task: TrainingTask, batch: Batch
    ) -> tuple[dict[str, Tensor], Sequence[Relations]]:
        """The parts of a task's loss, and the relations of its pairs.

        The terms of a composite loss, and the attribute heads, learn from the first task's batches.
        """
        if "text_features" not in batch and "tokens" not in batch:  # no text was loaded
            batch["caption"] = torch.full_like(batch["index"], UNKNOWN)
        (*embeddings, asked), batch = self._gathered(self._embedded(batch), batch)
        layout = self.retriever.layout
        images, texts, queries = (layout.block(part) for part in (*embeddings, asked))
        is_first = task is self.tasks[0]
        loss = contrastive_part(self.loss) if is_first else self.task_losses[task.name]
        rows, columns = task.sides(images, texts, queries)
        contrastive, relations = self._pair_loss(task, loss, (rows, batch), (columns, batch))
        if task.memory:
            memory: MemoryBank = self.memories[task.name]  # type: ignore[assignment]  # a ModuleDict holds any module
            if int(memory.added):
                earlier, codes = memory.stored(batch)
                contrastive = (
                    contrastive
                    + self._pair_loss(task, loss, (rows, batch), (earlier.to(rows.dtype), codes))[0]
                )
            memory.add(columns, batch)
        parts = {"contrastive": contrastive}
        if is_first and isinstance(self.loss, Composite):
            parts |= self.loss.term_values(images, texts, batch)
        if is_first and layout.attributes:
            parts["blocks"] = self.block_loss(*embeddings, batch, layout)
        return parts, relations

    def _pair_loss(
        self,
        task: TrainingTask,
        loss: nn.Module,
        of_rows: tuple[Tensor, Batch],
        of_columns: tuple[Tensor, Batch],
    ) -> tuple[Tensor, Sequence[Relations]]:
        """The mean loss over the parts of a task, and the relations of each part.

        Args:
            task: the task, which relates rows and columns.
            loss: the loss.
            of_rows: (B, D) embeddings and their codes.
            of_columns: (M, D) embeddings and their codes.
        """
        (rows, row_codes), (columns, column_codes) = of_rows, of_columns
        with torch.no_grad():
            several = getattr(loss, "several_positives", False)
            judged = self.judged.get(task.name)
            if judged is not None:
                judged = judged.to(rows.device)
            parts = task.relations(
                row_codes, column_codes, several_positives=several, judged=judged
            )
            relations = [self.miner.select(rows, columns, part) for part in parts.values()]
        losses = [loss(rows, columns, part) for part in relations]
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean(), relations

    def _embedded(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The embeddings of the photos, texts and judged queries of this process's batch."""

        def encode() -> tuple[Tensor, Tensor, Tensor]:
            images, texts = self.retriever(batch)
            queries = self.retriever.embed_queries(batch)
            if "reference" in batch:
                queries = self.retriever.compose(images[batch["reference"]], queries)
            return images, texts, queries

        return retry_forward(encode, self.retriever, len(batch["index"]), self.trainer)

    def _is_logged(self, batch_idx: int) -> bool:
        """Whether this batch ends a logged step: every nth step, and the last of an epoch."""
        last = self.trainer.is_last_batch
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        steps = last or (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0
        return steps and every > 0 and (last or (self.global_step + 1) % every == 0)

    def _logged_of_losses(self) -> dict[str, Tensor | float]:
        """The learning rate, and what the losses know of themselves, by key."""
        values: dict[str, Tensor | float] = {
            "train/lr": self.trainer.optimizers[0].param_groups[0]["lr"]
        }
        if isinstance(self.loss, Composite):
            values |= {f"train/{n}": value for n, value in self.loss.logged().items()}
        values |= {f"train/{n}": value for n, value in self.block_loss.logged.items()}
        if isinstance(temperature := getattr(self.loss, "temperature", None), Tensor):
            values["train/temperature"] = temperature.detach()
        return values

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the values of a step under its own step number.

        Lightning's own logging uses another step number, and drops values at the end of an epoch.
        """
        values, self._logged = self._logged, {}
        if not values:
            return
        self.log("train/loss", values.pop("train/loss"), prog_bar=True, logger=False)
        self.log_dict(values, logger=False)
        numbers = {name: float(self.trainer.callback_metrics[name]) for name in values}
        numbers["train/loss"] = float(self.trainer.callback_metrics["train/loss"])
        for logger in self.trainer.loggers:
            logger.log_metrics(numbers, step=self.global_step)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step, in smaller chunks if memory runs out, and clamp learned temperatures."""
        assert optimizer_closure is not None
        closure = retry_step(optimizer_closure, self.retriever, self)
        super().optimizer_step(epoch, batch_idx, optimizer, closure)
        for module in (*self.loss.modules(), *self.task_losses.modules()):
            if (clamp := getattr(module, "clamp_scale", None)) is not None:
                clamp()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Pull heads towards their initial values, and record whether any gradient is non-zero."""
        self._decay.before_step(optimizer)
        self._stepped = True
        if not self._learns:
            gradients = (p.grad for p in self.parameters() if p.grad is not None)
            self._learns = any(bool(local_part(gradient).any()) for gradient in gradients)

    def on_train_epoch_end(self) -> None:
        """Stop a run that learns nothing.

        Once something was learned, an epoch of zero gradients is no fault: a loss with a margin
        may have nothing left to learn.

        Raises:
            TrainingError: all gradients of the run's first epoch were zero.
        """
        learns = self._learns or not self._stepped
        if not self.trainer.strategy.reduce_boolean_decision(learns, all=False):
            raise TrainingError(
                "nothing was learned in this epoch: the gradient of every parameter was zero in "
                "every batch, because no batch held a valid pair (a positive and a negative of "
                f"{' or '.join(task.name for task in self.tasks)}). Use a larger data.batch_size, "
                "or a miner that puts such items together; train/rows_without_pair is the share of "
                "rows without one"
            )

    def _gathered(
        self, embedded: tuple[Tensor, Tensor, Tensor], batch: Batch
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Batch]:
        """Gather the embeddings and codes of all processes to one batch.

        Every process computes the loss of the whole batch. The backward pass of all_gather sums the
        gradients over the processes, and DDP averages them over the weights; together they give
        the gradient of the whole batch.
        """
        if not self.gather or self.trainer.world_size == 1:
            return embedded, batch
        images, texts, queries = (
            self._all_gather(part) if len(part) else part for part in embedded
        )
        codes: Any = {
            name: self._all_gather(value)
            for name, value in batch.items()
            if name in CODES and isinstance(value, Tensor)
        }
        return (images, texts, queries), codes

    def _all_gather(self, part: Tensor) -> Tensor:
        """Gather (B, ...) of each process to (world_size * B, ...), differentiably."""
        gathered = self.all_gather(part, sync_grads=part.requires_grad)
        assert isinstance(gathered, Tensor)
        return gathered.flatten(0, 1)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Embed a batch in full precision."""
        with torch.autocast(self.device.type, enabled=False):
            images, texts = self.retriever(batch)
        return {"index": batch["index"], "image": images, "text": texts}

    def configure_optimizers(self) -> Any:
        """Make the optimizer and its schedule; norms, biases and scales have no weight decay."""
        optimizer = self.optimizer(self._groups())
        names = dict(self.named_parameters())
        self._decay = DecayToInitial({names[name]: start for name, start in self._initial.items()})
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
        """Clip the gradients by one norm over sharded and other tensors."""
        if not self._is_sharded_run():
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            learning = [p for group in optimizer.param_groups for p in group["params"]]
            clip_by_norm(learning, gradient_clip_val)

    def _is_sharded_run(self) -> bool:
        return isinstance(self.trainer.strategy, ModelParallelStrategy)

    def _groups(self) -> list[dict[str, Any]]:
        """The optimizer's parameter groups, by `depth` from the heads down and by weight decay."""
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
            # The optimizer cannot step sharded tensors together with others.
            key = depths.get(id(parameter), 0), parameter.ndim <= 1, is_sharded(parameter)
            groups.setdefault(key, []).append(parameter)
        return [
            {"params": groups[key], "depth": key[0]} | ({"weight_decay": 0.0} if key[1] else {})
            for key in sorted(groups)
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Drop the weights that are not trained."""
        checkpoint["state_dict"] = self.learned_part(checkpoint["state_dict"])

    def learned_part(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the trained part of a state dict of this module."""
        learned = {RETRIEVER + name for name in self.retriever.learned_state()}
        return {
            name: value
            for name, value in state.items()
            if name in learned or not name.startswith(RETRIEVER)
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint has exactly the trained weights of this model."""
        if "state_dict" in checkpoint:  # sharded weights are loaded elsewhere
            check_state(checkpoint["state_dict"], self.retriever)


def _logged_of(
    prefix: str, parts: Mapping[str, Tensor], relations: Sequence[Relations]
) -> dict[str, Tensor | float]:
    """The logged values of a task: the parts of its loss, and the share of rows without a pair."""
    without = [
        1.0 - (part.positive.any(dim=1) & part.negative.any(dim=1)).float().mean()
        for part in relations
    ]
    several = parts if len(parts) > 1 or prefix != "train/" else {}
    return {
        f"{prefix}rows_without_pair": torch.stack(without).mean(),
        **{f"{prefix}loss_{name}": value.detach() for name, value in several.items()},
    }


def _is_head(name: str) -> bool:
    """Whether a parameter is the weight matrix of a head."""
    return name.startswith((f"{RETRIEVER}image_head", f"{RETRIEVER}text_head")) or (
        name.startswith(f"{RETRIEVER}block_") and name.endswith("weight")
    )
