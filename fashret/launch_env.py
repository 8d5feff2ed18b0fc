"""What torchrun and SLURM say of a process that they started. Light to import."""

import os

from fashret.errors import ConfigError

_ALONE = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=stdout")
"""Overrides of a process that leaves no run folder of its own."""


def rank() -> int | None:
    """Which of the processes this is; None where neither of them started it."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["RANK"])
    return int(os.environ["SLURM_PROCID"]) if _by_srun() else None


def processes() -> int:
    """How many were started together."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_NTASKS"]) if _by_srun() else 1


def is_first() -> bool:
    """Whether this is the first of the processes of a run, whoever started them."""
    own = rank()
    if own is not None:
        return own == 0
    return all(int(os.environ.get(name, "0")) == 0 for name in ("NODE_RANK", "LOCAL_RANK"))


def is_restart() -> bool:
    """Whether this is not the first time: SLURM queued the job again, torchrun restarted it."""
    names = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
    return any(int(os.environ.get(name, "0")) > 0 for name in names)


def with_one_folder(arguments: list[str], command: str) -> list[str]:
    """The command line by which the processes of one run write into one folder.

    The first makes it; the others learn of it when they meet (`Team`). A step of a SLURM job has
    a folder of its own name, which it finds again when the job is queued again.

    Raises:
        ConfigError: a sweep, whose jobs start their processes themselves.
    """
    mine = rank()
    if mine is None:
        return arguments
    if {"-m", "--multirun"} & set(arguments):
        if processes() == 1:
            return arguments
        raise ConfigError(
            "-m: a sweep starts its jobs' processes itself, so it is run without torchrun and "
            "srun; hydra/launcher=slurm makes each job a SLURM job"
        )
    if mine > 0:
        return [*arguments, *_ALONE]
    chosen = any(argument.startswith("hydra.run.dir=") for argument in arguments)
    if chosen or "TORCHELASTIC_RUN_ID" in os.environ:
        return arguments
    job, step = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_STEP_ID", "0")
    return [*arguments, f"hydra.run.dir=outputs/{command}/slurm-{job}-{step}"]


def _by_srun() -> bool:
    """Whether a step of a job runs this, and not a person in a job's shell (as Lightning asks)."""
    started = "SLURM_STEP_ID" in os.environ and "SLURM_PROCID" in os.environ
    return started and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
