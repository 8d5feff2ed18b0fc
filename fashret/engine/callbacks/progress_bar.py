"""A progress bar that fits on one line of 80 columns."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import (
    BatchesProcessedColumn,
    CustomBarColumn,
    CustomTimeColumn,
)
from rich.progress import ProgressColumn, TextColumn


class CompactProgressBar(RichProgressBar):
    """A progress bar with epoch, batches, elapsed and remaining time, and logged metrics.

    Lightning's own has a wider bar and the number of batches a second beside it, so that it takes
    two lines and more in 80 columns.
    """

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        """Return the columns before those of the metrics."""
        return [
            TextColumn("[progress.description]{task.description}"),
            CustomBarColumn(
                bar_width=14,
                complete_style=self.theme.progress_bar,
                finished_style=self.theme.progress_bar_finished,
                pulse_style=self.theme.progress_bar_pulse,
            ),
            BatchesProcessedColumn(style=self.theme.batch_progress),
            CustomTimeColumn(style=self.theme.time),
        ]
