"""The Hydra callback that writes and prints the leaderboard of a sweep. Light to import."""

import json
import re
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from fashret.config import monitored_metric
from fashret.reports.atomic_write import write_text
from fashret.reports.metric_words import in_words
from fashret.reports.screen import console, show_table
from fashret.reports.sweep_table import FAILED, OBJECTIVE, job_folders, write_sweep

_INTERVAL = re.compile(r"(\(.*\)) (\S+)$")
"""The interval and the mark in the cell of a target, which are printed on two lines."""


class SweepTable(Callback):
    """Prints the jobs of a sweep, the best first, after the last job.

    `sweep.md` and `sweep.csv` in the folder of the sweep are written after each job.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Write the objective of the job, and the leaderboard so far."""
        if config.hydra.mode is not RunMode.MULTIRUN:
            return
        value = job_return.return_value if job_return.status is JobStatus.COMPLETED else None
        if isinstance(value, float):
            objective = {"monitor": monitored_metric(config), "value": value}
            write_text(Path(config.hydra.runtime.output_dir, OBJECTIVE), json.dumps(objective))
        write_sweep(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and print the final leaderboard."""
        folder = Path(config.hydra.sweep.dir)
        table = write_sweep(folder)
        if table is None:
            return
        header, rows = table
        cells = [[*row[:3], *(_INTERVAL.sub(r"\2\n\1", cell) for cell in row[3:])] for row in rows]
        screen = console()
        show_table(screen, [in_words(name) for name in header], cells)
        if len(header) > 3 and header[2] == "met":
            screen.print("targets: ++ proved, + met, - not met, ? insufficient", markup=False)
        jobs, failed = len(job_folders(folder)), len(list(folder.glob(f"*/{FAILED}")))
        if failed:
            print(f"{failed} of {jobs} jobs failed; see {folder}/<job>/{FAILED}")
        print(f"written to {folder}: sweep.md, sweep.csv")
