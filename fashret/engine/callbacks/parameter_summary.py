"""Log the number of parameters of a model, and how many are trainable."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelSummary
from pytorch_lightning.utilities.model_summary.model_summary import get_human_readable_count

from fashret.models.retriever import Retriever


class ParameterSummary(ModelSummary):
    """Logs one line before training, in place of Lightning's table of modules.

    That table has a column of floating-point operations which is zero for every model that is not
    given an example input.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the line, in the process with rank 0."""
        if trainer.is_global_zero:
            pl_module.print(parameter_summary(pl_module), flush=True)


def parameter_summary(module: pl.LightningModule) -> str:
    """Describe the number of trainable and of all parameters, and their size in MB."""
    parameters = list(module.parameters())
    learning = sum(p.numel() for p in parameters if p.requires_grad)
    size = sum(p.numel() * p.element_size() for p in parameters) / 1e6
    counts = (learning, sum(p.numel() for p in parameters))
    learn, total = (get_human_readable_count(count).strip() for count in counts)
    text = f"model: {learn} of {total} parameters are trainable, {size:.1f} MB"
    retriever = module.retriever
    stored = isinstance(retriever, Retriever) and retriever.backbone is None
    return f"{text} (frozen towers not counted: their features are stored)" if stored else text
