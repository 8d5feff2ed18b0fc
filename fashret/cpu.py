"""The number of CPU cores that this process may use."""

import os


def cores() -> int:
    """Return the number of cores available to this process, which a cluster job may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
