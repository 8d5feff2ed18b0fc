"""See that a run is judged on items that it was not trained on, and goes on over its own data."""

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
    """Count the judged items that a system was trained on, and refuse them.

    What is judged on purpose, split=train or all splits, is judged with a warning that states the
    number, and so is anything where `allowed`.

    Args:
        system: an untrained model and a catalog folder have no training record, and pass.
        split: whose items are judged; None for all.
        allowed: by `allow_trained_items`.

    Raises:
        ConfigError: items of another split than train were trained on.
    """
    if system.checkpoint is None:
        return
    session, key = system.session, system.session.table.key
    where = f"the {split} split" if split else "all splits"
    record = training_record(system.checkpoint)
    rows = session.rows(split)
    trained = None if record is None else record.overlap(session.table, rows)
    if trained is None:
        before = _data_key(system) if record is None else record.data
        if before != key:
            log.warning(
                "%s was trained on data %s and is judged on %s of data %s: how many of these items "
                "it was trained on cannot be checked, since there is no %s with its checkpoint%s",
                system.name,
                before or "that cannot be found any more",
                where,
                key,
                TRAINING_ITEMS,
                "" if record is None else " that has hashes of the photos",
            )
        return
    assert record is not None
    said = f"{system.name} was trained on {len(trained)} of the {len(rows)} items of {where}"
    if not len(trained):
        if record.data != key:
            log.warning("%s (data %s; its own data are %s)", said, key, record.data)
        return
    ids = session.table.column("item_id")
    some = ", ".join(ids[row] for row in trained[:_SHOWN]) + ", ..." * (len(trained) > _SHOWN)
    if allowed or split in (None, "train"):
        log.warning("%s (%s): the results are not those of unseen items", said, some)
        return
    raise ConfigError(
        f"{said} ({some}), so its results would not be those of unseen items. Its own data are "
        f"{record.data}, these are {key}: leave out the data options that differ (data.split_seed, "
        "data.splits, ...), or judge a set that it has not seen; split=train judges training "
        "items on purpose, and allow_trained_items=true judges these with a warning"
    )


def check_same_data(session: Session, checkpoint: str | None) -> None:
    """See that a run which goes on from a checkpoint has the data that it began with.

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


def training_record(checkpoint: Path) -> TrainingRecord | None:
    """What the run of a checkpoint was trained on: the record in its run folder or beside it."""
    path = checkpoint.resolve()
    return TrainingRecord.read(path.parent.parent) or TrainingRecord.read(path.parent)


def _data_key(system: System) -> str | None:
    """The key of the data that a run without a record names; None where they cannot be read."""
    assert system.checkpoint is not None
    data: Mapping[str, Any] = read_checkpoint(system.checkpoint)[0]["data"]
    try:
        source = instantiate(dict(data), "data")
        return prepared_folder(source, system.session.cache_dir).name
    except (FashretError, OSError):
        return None
