"""Worker processes that do not import the user's main script."""

import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any

_STARTING = threading.Lock()


class _Process(SpawnProcess):
    """A spawned process that does not import the main module.

    Python imports the main script in every process that it spawns; a script without
    `if __name__ == "__main__"` would then run again in each of them, and wait for the lock that its
    parent holds. fashret's workers do not need the script.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  # multiprocessing's name
        with _STARTING:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                return SpawnProcess._Popen(process_obj)
            finally:
                sys.modules["__main__"] = main


class _Context(SpawnContext):
    Process = _Process


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of spawned worker processes, for functions of importable modules.

    Args:
        workers: the number of processes. They are spawned because a fork would copy torch's
            threads.
    """
    return ProcessPoolExecutor(workers, mp_context=_Context())
