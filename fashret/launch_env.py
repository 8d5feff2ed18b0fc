"""Read the environment variables of torchrun and SLURM. Light to import."""

import os

from fashret.errors import ConfigError

_NO_RUN_FOLDER = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=stdout")
"""Hydra overrides of a process that creates no run folder."""


def global_rank() -> int | None:
    """Return the rank of this process; None if neither torchrun nor srun started it."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["RANK"])
    return int(os.environ["SLURM_PROCID"]) if _by_srun() else None


def world_size() -> int:
    """Return the number of processes that torchrun or srun started; 1 without either."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_NTASKS"]) if _by_srun() else 1


def is_first() -> bool:
    """Return whether this is the process with rank 0, also of processes that Lightning started."""
    rank = global_rank()
    if rank is not None:
        return rank == 0
    return all(int(os.environ.get(name, "0")) == 0 for name in ("NODE_RANK", "LOCAL_RANK"))


def is_restart() -> bool:
    """Return whether SLURM requeued this job or torchrun restarted it."""
    names = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
    return any(int(os.environ.get(name, "0")) > 0 for name in names)


def with_one_folder(arguments: list[str], command: str) -> list[str]:
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


def _by_srun() -> bool:
    """Whether srun started this process; False in an interactive shell, as in Lightning."""
    started = "SLURM_STEP_ID" in os.environ and "SLURM_PROCID" in os.environ
    return started and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
