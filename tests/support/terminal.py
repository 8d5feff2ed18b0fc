"""Commands in a real terminal of a given width, or with their output in a file."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from support.project import ROOT

TINY = [
    "data=sample", "data.products=60", "data.batch_size=16", "data.num_workers=0",
    "retrieval.resamples=20", "trainer=cpu", "device=cpu", "latency=false", "gallery=false",
    "logger=none",
]  # fmt: skip
"""Arguments of train.py for a run of seconds."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def output(command: list[str], columns: int | None, **environment: str) -> tuple[int, str]:
    """Run a command of Python; give its exit status and what it wrote, without colours.

    Args:
        command: what follows `python`.
        columns: of the terminal; None: the output goes into a pipe.
        environment: more variables.
    """
    hidden = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TERM")
    own = {name: value for name, value in os.environ.items() if name not in hidden}
    env = own | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)} | environment
    words = [sys.executable, *command]
    if columns is None:
        done = subprocess.run(
            words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return done.returncode, done.stdout
    screen, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=inside, stderr=inside)
    os.close(inside)
    written = b""
    while True:
        try:
            part = os.read(screen, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        written += part
    os.close(screen)
    text = written.decode().replace("\r\n", "\n")
    return process.wait(), _ESCAPES.sub("", text)
