"""Commands in processes of their own, forked from one that has imported their libraries.

Importing torch and Lightning takes seconds of every process; forked ones share it. What a command
does at its start is otherwise as in a new process: its own arguments, variables and folder.
"""

import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from support.project import ROOT

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["fashret.cli.train", "fashret.cli.evaluate", "fashret.cli.build_catalog",
     "fashret.pipelines.train", "fashret.pipelines.evaluate", "fashret.pipelines.catalog",
     "matplotlib.pyplot"]
)  # fmt: skip


def forked(
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    processes: int = 1,
    timeout: float = 200.0,
) -> subprocess.CompletedProcess[str]:
    """Run a script of the project, in one process or in several as torchrun starts them.

    Args:
        words: the script in the root of the project and its arguments.
        folder: where it runs.
        environment: variables that differ from this process's.
        processes: number of processes.
        timeout: seconds until a process counts as hanging.

    Returns:
        The exit status, the first that is not 0, and what the process of rank 0 wrote.
    """
    variables = {**os.environ, **environment}
    with ExitStack() as stack:
        written = Path(stack.enter_context(TemporaryDirectory()))
        started = []
        port = str(_free_port())
        for rank in range(processes):
            own = dict(variables)
            if processes > 1:
                own |= {
                    "TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                    "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes),
                    "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0",
                }  # fmt: skip
            target = (list(words), str(folder), own, str(written / str(rank)))
            process = _CONTEXT.Process(target=_command, args=target)
            process.start()
            stack.callback(process.kill)
            started.append(process)
        for process in started:
            process.join(timeout)
        codes = [process.exitcode for process in started]
        if None in codes:
            raise subprocess.TimeoutExpired(list(words), timeout)
        failed = next((rank for rank, code in enumerate(codes) if code), 0)
        said = [(written / f"{failed}.{name}").read_text() for name in ("out", "err")]
        return subprocess.CompletedProcess(list(words), codes[failed] or 0, *said)


def _command(words: list[str], folder: str, environment: dict[str, str], written: str) -> None:
    """Become a command, in the forked process."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{written}.{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.argv = [str(ROOT / words[0]), *words[1:]]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
