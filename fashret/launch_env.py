"""Read the environment variables of torchrun and SLURM. Light to import."""

import os


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


def _by_srun() -> bool:
    """Whether srun started this process; False in an interactive shell, as in Lightning."""
    started = "SLURM_STEP_ID" in os.environ and "SLURM_PROCID" in os.environ
    return started and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
