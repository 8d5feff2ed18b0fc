"""A SLURM job that is warned of its end takes another turn."""

import logging
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

log = logging.getLogger(__name__)


class Requeue(pl.Callback):
    """Saves where training is and queues the job again when SLURM sends SIGUSR1.

    `#SBATCH --signal=SIGUSR1@90` asks for that 90 seconds before the job's time is over. Lightning
    saves in the signal's handler, wherever each process is just then, perhaps on two sides of an
    exchange; here the signal is noted, and all processes heed it at the end of the same batch.
    Without SLURM it does nothing.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._job = _job()
        self._warned = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signal, from Lightning too."""
        if self._job is not None:
            signal.signal(signal.SIGUSR1, self._note)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Heed it.

        Raises:
            SystemExit: the job is queued again, this turn is over.
        """
        if self._job is None:
            return
        if not trainer.strategy.reduce_boolean_decision(self._warned, all=False):
            return
        self._warned = False
        trainer.save_checkpoint(self.path)
        queued = _queued_again(self._job) if trainer.is_global_zero else False
        if trainer.strategy.broadcast(queued):
            log.info("saved %s, and queued job %s again", self.path, self._job)
            raise SystemExit(0)

    def _note(self, *_: Any) -> None:
        self._warned = True


def _job() -> str | None:
    """The job that this process belongs to, unless a person works in its shell."""
    job = SLURMEnvironment.job_id()
    if job is not None and "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return None if job is None else str(job)


def _queued_again(job: str) -> bool:
    """Ask SLURM for another turn."""
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        log.warning("job %s cannot be queued again (%s): it goes on while it may", job, e)
        return False
    return True
