"""Check that a run is evaluated on unseen items, and resumed on the data that it began with."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fashret.data.leakage import TRAINING_ITEMS, TrainingRecord
from fashret.data.preparation import prepared_folder
from fashret.errors import CheckpointError, ConfigError, FashretError
from fashret.instantiate import instantiate
from fashret.models.checkpoint import read_checkpoint
from fashret.pipelines.session import Session
from fashret.pipelines.systems import System

log = logging.getLogger(__name__)

_SHOWN = 5


def check_held_out(system: System, split: str | None, *, allowed: bool = False) -> None:
    """Refuse to evaluate a system on items that it was trained on.

    With split=train, all splits or `allowed`, a warning states their number instead.

    Args:
        system: the system; an untrained model and a catalog have no training record, and pass.
        split: the split to evaluate; None for all items.
        allowed: the option `allow_trained_items`.

    Raises:
        ConfigError: the system was trained on items of the split.
    """
    if system.checkpoint is None:
        return
    session, key = system.session, system.session.table.key
    evaluated = f"the {split} split" if split else "all splits"
    record = training_record(system.checkpoint)
    rows = session.rows(split)
    trained = None if record is None else record.overlap(session.table, rows)
    if trained is None:
        before = _data_key(system) if record is None else record.data
        if before != key:
            log.warning(
                "%s was trained on data %s and is evaluated on %s of data %s: whether it was "
                "trained on these items cannot be checked, since there is no %s beside its "
                "checkpoint%s",
                system.name,
                before or "that no longer exists",
                evaluated,
                key,
                TRAINING_ITEMS,
                "" if record is None else " that has hashes of the photos",
            )
        return
    assert record is not None
    finding = f"{system.name} was trained on {len(trained)} of the {len(rows)} items of {evaluated}"
    if not len(trained):
        if record.data != key:
            log.warning("%s (data %s; it was trained on data %s)", finding, key, record.data)
        return
    ids = session.table.column("item_id")
    some = ", ".join(ids[row] for row in trained[:_SHOWN]) + ", ..." * (len(trained) > _SHOWN)
    if allowed or split in (None, "train"):
        log.warning("%s (%s): the results are not those of unseen items", finding, some)
        return
    raise ConfigError(
        f"{finding} ({some}), so its results would not be those of unseen items. It was trained on "
        f"data {record.data}, this is data {key}: drop the data options that differ "
        "(data.split_seed, data.splits, ...), or evaluate on data that it has not seen; "
        "split=train evaluates the training items, and allow_trained_items=true evaluates "
        "these with a warning"
    )


def check_same_data(session: Session, checkpoint: str | None) -> None:
    """Check that a resumed run has the data that it began with.

    Args:
        session: the session with the data of now.
        checkpoint: the checkpoint to resume from; None for a new run.

    Raises:
        CheckpointError: the data have changed.
    """
    if checkpoint is None:
        return
    record = training_record(Path(checkpoint))
    if record is None:
        log.warning(
            "%s has no %s beside it: whether the data are those that the run began with cannot be "
            "checked",
            checkpoint,
            TRAINING_ITEMS,
        )
    elif record.data != session.table.key:
        raise CheckpointError(
            f"{checkpoint} cannot be resumed: the run was trained on data {record.data}, its data "
            f"are now {session.table.key}, with other items, splits or attributes. Undo the change "
            "of the data or of its options, or start a new run without resume="
        )
    elif record.embeddings != session.imported_hash:
        raise CheckpointError(
            f"{checkpoint} cannot be resumed: data.embeddings={session.spec.embeddings} has other "
            "vectors than those that the run was trained on. Give the same ones, or start a new "
            "run without resume="
        )


def training_record(checkpoint: Path) -> TrainingRecord | None:
    """Read the training record of a checkpoint, in its run folder or beside it; None if missing."""
    path = checkpoint.resolve()
    return TrainingRecord.read(path.parent.parent) or TrainingRecord.read(path.parent)


def _data_key(system: System) -> str | None:
    """The key of the data in the checkpoint's configuration; None if it cannot be read."""
    assert system.checkpoint is not None
    data: Mapping[str, Any] = read_checkpoint(system.checkpoint)[0]["data"]
    try:
        source = instantiate(dict(data), "data")
        return prepared_folder(source, system.session.cache_dir).name
    except (FashretError, OSError):
        return None
