"""Save and requeue a SLURM job before its time limit."""

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
    """Saves a checkpoint and requeues the job when SLURM sends SIGUSR1.

    `#SBATCH --signal=SIGUSR1@90` requests the signal 90 seconds before the job's time limit.
    Lightning saves in the signal handler, where the processes may be at different points of a
    collective operation; here all processes react at the end of the same batch. Without SLURM it
    does nothing.

    Args:
        path: the checkpoint to write.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._job = _job()
        self._warned = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install the signal handler, in place of Lightning's."""
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
        """If SIGUSR1 was received, save a checkpoint and requeue the job.

        Raises:
            SystemExit: the job has been requeued.
        """
        if self._job is None:
            return
        if not trainer.strategy.reduce_boolean_decision(self._warned, all=False):
            return
        self._warned = False
        trainer.save_checkpoint(self.path)
        requeued = _requeue(self._job) if trainer.is_global_zero else False
        if trainer.strategy.broadcast(requeued):
            log.info("saved %s, and requeued job %s", self.path, self._job)
            raise SystemExit(0)

    def _note(self, *_: Any) -> None:
        self._warned = True


def _job() -> str | None:
    """The id of the SLURM job of this process; None outside of one or in an interactive shell."""
    job = SLURMEnvironment.job_id()
    if job is not None and "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return None if job is None else str(job)


def _requeue(job: str) -> bool:
    """Ask SLURM to requeue the job; return whether it does."""
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        log.warning("cannot requeue job %s (%s): continuing until the time limit", job, e)
        return False
    return True
