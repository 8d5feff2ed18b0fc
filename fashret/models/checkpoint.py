"""Checkpoints of runs: finding one, reading it as data, and the weights that it holds."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from fashret.errors import CheckpointError
from fashret.models.spec import ModelSpec

RETRIEVER = "retriever."
"""What the names of the retriever's weights begin with."""


class Learner(Protocol):
    """A model that says which of its weights learn: a `Retriever`."""

    def add_blocks(self, spec: ModelSpec) -> Any:
        """Add the attribute heads that a spec asks for."""
        ...

    def set_training(self, spec: ModelSpec) -> None:
        """Let learn what the spec says."""
        ...

    def learned_state(self) -> dict[str, Tensor]:
        """What a checkpoint holds."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = ...) -> Any:
        """Take weights."""
        ...


Model = TypeVar("Model", bound=Learner)


def checkpoint_path(run: str | None, ckpt: str) -> Path:
    """Find the checkpoint that `run` and `ckpt` name.

    Args:
        run: a run folder; None where `ckpt` is a file.
        ckpt: last, best, or the path of a checkpoint file.

    Raises:
        CheckpointError: there is no such run or checkpoint.
    """
    if run is None:
        path = Path(ckpt).expanduser()
        if not path.is_file():
            raise CheckpointError(
                f"ckpt={ckpt}: file not found; use ckpt=last or ckpt=best together with "
                "run=<run folder>"
            )
        return path
    folder = Path(run).expanduser()
    if not folder.is_dir():
        raise CheckpointError(f"run={run}: folder not found; give the folder that train.py wrote")
    path = folder / "checkpoints" / f"{ckpt}.ckpt" if ckpt in ("last", "best") else Path(ckpt)
    if not path.is_file():
        held = sorted(p.name for p in (folder / "checkpoints").glob("*.ckpt"))
        raise CheckpointError(
            f"checkpoint not found: {path}; the run has {', '.join(held) or 'no checkpoint'}"
        )
    return path


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the configuration and the learned weights; nothing in the file is executed.

    Raises:
        CheckpointError: it cannot be read, or was not written by fashret.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
        return dict(held["hyper_parameters"]["config"]), held["state_dict"]
    except Exception as e:  # torch has no one error for a broken file
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint of fashret ({type(e).__name__}: "
            f"{str(e).splitlines()[0][:200]})"
        ) from e


def trained_epochs(path: Path) -> int:
    """Count the whole epochs that a checkpoint has trained.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(held["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except Exception as e:  # torch has no one error for a broken file
        raise CheckpointError(f"{path} cannot be read as a checkpoint of fashret: {e}") from e


def with_weights(state: Mapping[str, Tensor], retriever: Model, spec: ModelSpec) -> Model:
    """Give a retriever the heads of a spec and the learned weights of a checkpoint.

    Args:
        state: as `read_checkpoint` gives it.
        retriever: changed in place.
        spec: of the checkpoint's model.

    Raises:
        CheckpointError: the checkpoint is of another model.
    """
    retriever.add_blocks(spec).set_training(spec)
    load_learned(state, retriever)
    return retriever


def load_learned(state: Mapping[str, Tensor], retriever: Learner) -> None:
    """Give a retriever the weights of a checkpoint.

    Raises:
        CheckpointError: see `check_state`.
    """
    check_state(state, retriever)
    held = {
        name.removeprefix(RETRIEVER): value
        for name, value in state.items()
        if name.startswith(RETRIEVER)
    }
    retriever.load_state_dict(held, strict=False)


def check_state(state: Mapping[str, Tensor], retriever: Learner) -> None:
    """Compare the names and shapes of a checkpoint with what learns.

    Raises:
        CheckpointError: they differ, so that loading would leave weights as they were.
    """
    expected = {RETRIEVER + name: value for name, value in retriever.learned_state().items()}
    held = {name: value for name, value in state.items() if name.startswith(RETRIEVER)}
    missing, unexpected = expected.keys() - held.keys(), held.keys() - expected.keys()
    shapes = [n for n in expected.keys() & held.keys() if expected[n].shape != held[n].shape]
    if missing or unexpected or shapes:
        raise CheckpointError(
            f"the checkpoint is of another model: missing {sorted(missing)[:3]}, unexpected "
            f"{sorted(unexpected)[:3]}, of another shape {sorted(shapes)[:3]}"
        )


def learned_digest(state: Mapping[str, Tensor]) -> str:
    """Hash the learned weights of a retriever: what a trained model's catalog is keyed by."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.startswith(RETRIEVER):
            value = state[name].detach().cpu().contiguous()
            digest.update(name.encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
