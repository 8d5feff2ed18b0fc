"""Show items in TensorBoard's embedding projector, with thumbnails and their values."""

import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch.utils.tensorboard import SummaryWriter

from fashret.data.items import ItemTable
from fashret.data.photos import decode_photo
from fashret.evaluation.embed import EvaluatedSystem

_MAX_ITEMS = 500
_SIDE = 48


def write_projector(
    writer: SummaryWriter, table: ItemTable, shown: EvaluatedSystem, *, step: int
) -> None:
    """Add at most 500 items to TensorBoard's projector, with thumbnails and their values.

    Args:
        writer: the TensorBoard writer.
        table: the items.
        shown: the system whose image embeddings are shown.
        step: the global step.
    """
    chosen = np.linspace(0, len(shown.rows) - 1, min(_MAX_ITEMS, len(shown.rows))).astype(np.int64)
    rows = shown.rows[chosen]
    names = ["item_id", "category", *table.attributes]
    columns = [table.column(name) for name in names]
    values = [[_cell(column[row]) for column in columns] for row in rows]
    photos = np.zeros((len(rows), 3, _SIDE, _SIDE), dtype=np.float32)
    for i, row in enumerate(rows):
        photo = ImageOps.pad(decode_photo(table.photo(int(row))), (_SIDE,) * 2)
        photos[i] = np.asarray(photo, dtype=np.float32).transpose(2, 0, 1) / 255.0
    # TensorBoard does not overwrite this folder, which an interrupted run may have left.
    shutil.rmtree(Path(writer.get_logdir()) / f"{step:05d}" / "items", ignore_errors=True)
    writer.add_embedding(
        shown.embedded.layout.block(shown.embedded.image[torch.from_numpy(chosen)]).cpu(),
        metadata=values,
        metadata_header=names,
        label_img=torch.from_numpy(photos),
        global_step=step,
        tag="items",
    )


def _cell(value: object) -> str:
    """A value as a cell of a tab-separated table."""
    return " ".join(str(value or "").split())
