"""Wall time and peak memory of every command, against the bare start of what it imports.

    python benchmarks/start_up.py

The bare start is `python -c "import torch, open_clip, pytorch_lightning"`; the two alternate.
Commands run on the drawn sample with 96 products (192 items): training for one epoch with its
evaluations and pages, evaluating and exporting that run, and building a catalog from nothing. The
data are prepared, as they are after a first run. Memory is that of the command's own process.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from measure import Options, Ratio, Row, benchmark

ROOT = Path(__file__).parents[1]
SHELL = 'cd "$0" && exec "$@"'
BARE = ["-c", "import torch, open_clip, pytorch_lightning"]


@dataclass
class Command:
    """A command that can be run again and again.

    Attributes:
        arguments: for python.
        folder: where it runs, and what it says is kept.
        before: what makes it do its work anew.
        taken: seconds, run by run.
        peaks: GiB, run by run.
    """

    arguments: list[str]
    folder: Path
    before: Callable[[], None] = lambda: None
    taken: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Once, to its end.

        Raises:
            RuntimeError: it failed.
        """
        self.before()
        said = self.folder / "said"
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with said.open("w") as log:
            start = time.perf_counter()
            pid = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", SHELL, str(self.folder), sys.executable, *self.arguments],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                ],
            )
            _, status, usage = os.wait4(pid, 0)
            self.taken.append(time.perf_counter() - start)
        self.peaks.append(usage.ru_maxrss / 2**20)
        if status:
            last = said.read_text().strip().splitlines()[-1:]
            raise RuntimeError(f"{' '.join(self.arguments)}: {' '.join(last)[:300]}")


def measured(name: str, mine: Command, bare: Command, turns: int) -> Row:
    """Both in turns, the first of which warms up; no turn runs ours alone, and once."""
    for _ in range(turns + 1):
        if turns:
            bare.run()
        mine.run()
    last = max(turns, 1)
    ratio = Ratio.of(mine.taken[-last:], bare.taken[-last:])
    peaks = [statistics.median(command.peaks[-last:]) for command in (mine, bare)]
    note = f"peak {peaks[0]:.2f} GiB against {peaks[1]:.2f}"
    return Row.of(name, "importing torch, open_clip and Lightning", ratio, note=note)


def rows(options: Options) -> Iterator[Row]:
    turns = 0 if options.quick else 3
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cache, run = folder / "cache", folder / "run"
        bare = Command(BARE, folder)
        train = str(ROOT / "train.py")
        data = ["data.products=96", f"paths.cache_dir={cache}"]
        once = [*data, "trainer.max_epochs=1", "trainer.enable_progress_bar=false"]

        def nothing() -> Row:
            empty = Command(["-c", "pass"], folder)
            for _ in range(turns + 1):
                bare.run()
                empty.run()
            last = max(turns, 1)
            ratio = Ratio.of(bare.taken[-last:], empty.taken[-last:])
            note = f"peak {bare.peaks[-1]:.2f} GiB against {empty.peaks[-1]:.2f}"
            return Row.of("importing torch, open_clip and Lightning", "python", ratio, note=note)

        yield nothing()
        light = {
            "train.py --help": [train, "--help"],
            "train.py --cfg job": [train, "--cfg", "job"],
            "demo --help": ["-m", "fashret.cli.demo", "--help"],
            "view --help": ["-m", "fashret.cli.view", "--help"],
        }
        for name, arguments in light.items():
            yield measured(name, Command(arguments, folder), bare, turns)
        work = {
            "train.py, one epoch of 192 items": [train, *once, f"hydra.run.dir={run}"],
            "evaluate.py of that run": [
                str(ROOT / "evaluate.py"), f"run={run}", f"paths.cache_dir={cache}"
            ],
            "build_catalog.py of 192 items": [str(ROOT / "build_catalog.py"), *data],
            "export of that run": [
                "-m", "fashret.cli.export", f"run={run}", f"out={folder / 'bundle'}",
                f"paths.cache_dir={cache}",
            ],
        }  # fmt: skip
        anew = {
            "train.py, one epoch of 192 items": run,
            "build_catalog.py of 192 items": cache / "catalogs",
            "export of that run": folder / "bundle",
        }
        for name, arguments in work.items():
            heavy = Command(arguments, folder)
            if name in anew:
                heavy.before = partial(shutil.rmtree, anew[name], ignore_errors=True)
            yield measured(name, heavy, bare, min(turns, 2))


if __name__ == "__main__":
    benchmark(rows, __doc__)
