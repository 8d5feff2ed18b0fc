"""What the machine has."""

import os


def cores() -> int:
    """Cores that this process may run on: a job on a cluster is given some of a machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
