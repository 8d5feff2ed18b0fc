"""Remove the run folder that Hydra creates for a command, if the command fails and left nothing.

Light to import.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

_new: list[Path] = []
"""The run folder and the parents of it that this process creates, the innermost first."""


class RunFolder(Callback):
    """A Hydra callback that records the folders that Hydra creates for a single run."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Record the folders before they exist."""
        folder = Path(config.hydra.run.dir).absolute()
        _new[:] = [path for path in (folder, *folder.parents) if not path.exists()]


@contextmanager
def remove_run_folder_if_empty() -> Iterator[None]:
    """Remove the run folder of a failing command, if it contains Hydra's own files only.

    A folder that existed before, such as that of a resumed run or of a sweep's job, is kept.
    """
    _new.clear()
    try:
        yield
    except BaseException as e:
        if not isinstance(e, SystemExit) or e.code:
            _remove()
        raise


def _remove() -> None:
    if not _new or not _new[0].is_dir() or any(map(_is_kept, _new[0].iterdir())):
        return
    shutil.rmtree(_new[0])
    for parent in _new[1:]:
        if any(parent.iterdir()):
            return
        parent.rmdir()


def _is_kept(path: Path) -> bool:
    """Whether something in a run folder is more than Hydra's configuration or an empty log."""
    empty_log = path.suffix == ".log" and path.is_file() and path.stat().st_size == 0
    return path.name != ".hydra" and not empty_log
