"""Worker processes that do not run the user's script again."""

import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any

_STARTING = threading.Lock()


class _Process(SpawnProcess):
    """A process that is started afresh, without the main module.

    Python imports the main script in every process that it spawns, and a script without
    `if __name__ == "__main__"` would then begin all over again in each of them: it would wait for
    the lock that its parent holds. Workers of fashret need nothing of the script.
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
    """Return a pool of processes, for functions of importable modules.

    They are spawned, since a fork would copy torch's threads.
    """
    return ProcessPoolExecutor(workers, mp_context=_Context())
