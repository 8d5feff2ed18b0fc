"""Fixtures that all tests share."""

import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores, and so do their children
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest

from support.commands import Run

KINDS = ("unit", "run", "distributed", "browser", "faults")
"""The markers that say what a test needs; each test has exactly one of them."""


@pytest.hookimpl(tryfirst=True)  # before -m chooses among the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of no kind: those with the fixture `run` as `run`, all others as `unit`."""
    for item in items:
        kinds = [kind for kind in KINDS if item.get_closest_marker(kind)]
        if len(kinds) > 1:
            raise pytest.UsageError(f"{item.nodeid} is marked {' and '.join(kinds)}: keep one")
        if not kinds:
            item.add_marker("run" if "run" in getattr(item, "fixturenames", ()) else "unit")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for all tests: data is prepared once."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("FASHRET_CACHE")
    os.environ["FASHRET_CACHE"] = str(folder)
    yield folder
    os.environ.pop("FASHRET_CACHE")
    if before is not None:
        os.environ["FASHRET_CACHE"] = before


@pytest.fixture
def run(cache_dir: Path, tmp_path: Path) -> Run:
    return Run(tmp_path, cache_dir)


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make open_clip know the small architectures, as `stand-in-<family>`."""
    import open_clip

    from support.architectures import FAMILIES

    folder = tmp_path_factory.mktemp("architectures")
    for name, definition in FAMILIES.items():
        (folder / f"stand-in-{name}.json").write_text(json.dumps(definition))
    open_clip.add_model_config(folder)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that comes to be where something was executed; beside it what would make it."""
    import numpy as np
    import torch

    from support.hostile import Bomb

    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "executed")))
    bomb = np.array([Bomb(tmp_path / "executed")], dtype=object)
    np.save(tmp_path / "bomb.npy", bomb, allow_pickle=True)
    torch.save(Bomb(tmp_path / "executed"), tmp_path / "bomb.pt")
    return tmp_path / "executed"
