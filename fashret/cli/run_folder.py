"""The run folder that Hydra creates for a command. Light to import.

The processes of one run share it, and a command that fails and left nothing in it removes it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from fashret.errors import ConfigError
from fashret.launch_env import global_rank, world_size

_NO_RUN_FOLDER = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=stdout")
"""Hydra overrides of a process that creates no run folder."""

_new: list[Path] = []
"""The run folder and the parents of it that this process creates, the innermost first."""


class RunFolder(Callback):
    """A Hydra callback that records the folders that Hydra creates for a single run."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Record the folders before they exist."""
        folder = Path(config.hydra.run.dir).absolute()
        _new[:] = [path for path in (folder, *folder.parents) if not path.exists()]


def with_shared_run_folder(arguments: list[str], command: str) -> list[str]:
    """Change a command line so that the processes of one run share its run folder.

    The process with rank 0 creates the folder; the others receive its path later
    (`pipelines.process_group`). A step of a SLURM job has a folder named by its job and step, so
    that a requeued job finds it again.

    Args:
        arguments: the command line, without the program.
        command: the name of the command, such as train.

    Raises:
        ConfigError: a sweep (-m) under torchrun or srun.
    """
    rank = global_rank()
    if rank is None:
        return arguments
    if {"-m", "--multirun"} & set(arguments):
        if world_size() == 1:
            return arguments
        raise ConfigError(
            "-m: a sweep starts its jobs' processes itself: run it without torchrun or srun; "
            "hydra/launcher=slurm submits each job to SLURM"
        )
    if rank > 0:
        return [*arguments, *_NO_RUN_FOLDER]
    chosen = any(argument.startswith("hydra.run.dir=") for argument in arguments)
    if chosen or "TORCHELASTIC_RUN_ID" in os.environ:
        return arguments
    job, step = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_STEP_ID", "0")
    return [*arguments, f"hydra.run.dir=outputs/{command}/slurm-{job}-{step}"]


@contextmanager
def remove_run_folder_if_empty() -> Iterator[None]:
    """Remove the run folder of a failing command, if it contains Hydra's own files only.

    A folder that existed before, such as that of a resumed run or of a sweep's job, is kept.
    """
    _new.clear()
    try:
        yield
    except BaseException as e:
        if not isinstance(e, SystemExit) or e.code:
            _remove()
        raise


def _remove() -> None:
    if not _new or not _new[0].is_dir() or any(map(_is_kept, _new[0].iterdir())):
        return
    shutil.rmtree(_new[0])
    for parent in _new[1:]:
        if any(parent.iterdir()):
            return
        parent.rmdir()


def _is_kept(path: Path) -> bool:
    """Whether something in a run folder is more than Hydra's configuration or an empty log."""
    empty_log = path.suffix == ".log" and path.is_file() and path.stat().st_size == 0
    return path.name != ".hydra" and not empty_log
