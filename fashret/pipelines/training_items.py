"""Select the items that a run trains on, without leakage from validation and test."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fashret.catalog.folder import Catalog
from fashret.data.items import ItemTable
from fashret.data.leakage import find_leaking
from fashret.errors import DataError
from fashret.losses import Composite
from fashret.pipelines.session import Session
from fashret.reports.product_groups import write_groups
from fashret.tasks.training import TrainingTask
from fashret.types import JudgedQueries, TrainingItems

log = logging.getLogger(__name__)


def training_items(
    session: Session,
    tasks: Sequence[TrainingTask],
    loss: nn.Module,
    baseline: Catalog,
    *,
    gather: bool,
) -> TrainingItems:
    """Group photos into products, and drop training items that leak from other splits.

    Photos of one title that look alike are joined to one product. Items whose product or photo also
    occurs in another split are dropped. `mining/groups.json` in the run folder has the products,
    `mining/groups_audit.csv` some of them for an audit.

    Args:
        session: the model and the data.
        tasks: what is trained for.
        loss: the loss, which decides what items can teach.
        baseline: the catalog of the untrained model.
        gather: whether the loss is over the batches of all processes together.

    Raises:
        DataError: no training item is left, or none has anything to learn from.
        ConfigError: a batch would have a single item.
    """
    table, codes = session.table, session.codes
    found = find_products(session, baseline.image)
    rows, leaks, copied = found.rows, found.leaks, found.copied
    if bool(leaks.any()):
        log.warning(
            "dropping %d training items whose photo or product also occurs in validation or test "
            "(leakage)",
            int(leaks.sum()),
        )
    if bool(leaks.all()):
        raise DataError(
            f"data {session.source.name}: no training item is left: the photo or product of each "
            f"also occurs in validation or test (leakage), for {int(copied.sum())} of {len(rows)} "
            f"the photo itself. photo_copies in {table.folder / 'report.json'} names them; "
            "data.groups.title_confidence=0 joins no products by their titles"
        )
    items = codes.training_items(
        table, rows[~leaks], product=found.product, tiers=session.source.tiers
    )
    items = replace(
        items,
        by_product=all(task.by_product for task in tasks),
        queries=training_queries(session, tasks, items.rows),
        mines_items=any(task.name not in session.judged_queries for task in tasks),
    )
    check_items(session, items, tasks, loss, gather=gather)
    if session.group.global_rank == 0:
        found.write(session.output_dir / "mining", table)
    return items


class FoundProducts(NamedTuple):
    """Products as training knows them, and the training items that occur in another split too.

    Attributes:
        product: (N,) long code of each item's product, UNKNOWN for none.
        confidence: (N,) float confidence of the product, 0 to 1.
        rows: (n,) long rows of the training split.
        leaks: (n,) bool: the photo or product of the row also occurs in validation or test.
        copied: (n,) bool: the photo does.
    """

    product: Tensor
    confidence: Tensor
    rows: Tensor
    leaks: Tensor
    copied: Tensor

    def write(self, folder: Path, table: ItemTable) -> None:
        """Write groups.json and groups_audit.csv."""
        folder.mkdir(parents=True, exist_ok=True)
        write_groups(folder, table, self.product, self.confidence, self.rows[self.leaks])


def find_products(session: Session, image: Tensor | None) -> FoundProducts:
    """Find the products of the items, also by titles of photos that look alike.

    Args:
        session: the model and the data.
        image: (N, D) embeddings of the photos by the untrained model; None joins none by title.
    """
    table, grouping = session.table, session.source.groups
    product, confidence = session.codes.product, torch.from_numpy(table.confidence)
    joined = torch.zeros(len(table), dtype=torch.bool)
    by_title = grouping is not None and grouping.title_confidence >= grouping.min_confidence
    # Random towers see no similarity.
    if grouping is not None and by_title and image is not None and not session.spec.random:
        product, joined = grouping.join_by_title(table.column("text"), image, product)
        confidence = torch.where(joined, grouping.title_confidence, confidence)
    rows = torch.from_numpy(table.rows("train"))
    leaks, copied = find_leaking(table, rows, product, joined, confidence)
    return FoundProducts(product, confidence, rows, leaks, copied)


def training_queries(
    session: Session, tasks: Sequence[TrainingTask], rows: torch.Tensor
) -> dict[str, JudgedQueries]:
    """Return the judged queries of the training split, by the task that trains on them.

    Args:
        session: the model and the data.
        tasks: what is trained for.
        rows: (n,) long rows of the training items.
    """
    judged = session.judged_queries
    return {
        task.name: judged[task.name].within("train", rows) for task in tasks if task.name in judged
    }


def check_items(
    session: Session,
    items: TrainingItems,
    tasks: Sequence[TrainingTask],
    loss: nn.Module,
    *,
    gather: bool,
) -> None:
    """Check that every task can learn from the training items, if anything is trainable.

    Args:
        session: the model and the data.
        items: the training items.
        tasks: what is trained for.
        loss: the loss.
        gather: whether the loss is over the batches of all processes together.

    Raises:
        DataError: a task can learn nothing from the items.
        ConfigError: a batch would have a single item.
    """
    if not session.spec.learns:
        return
    captions, caption = session.source.captions, items.caption
    if captions is not None:
        caption = torch.from_numpy(captions.fill(session.table).codes)
    world = session.group.world_size
    terms: Iterable[nn.Module] = loss.terms.values() if isinstance(loss, Composite) else ()
    from_values = any(getattr(term, "learns_from_values", False) for term in terms)
    batch_items = min(session.source.batch_size, len(items.rows) // world)
    for number, task in enumerate(tasks):
        task.check(
            items,
            caption,
            data=session.source.name,
            batch_items=batch_items * (world if gather else 1),
            values=number == 0 and (from_values or bool(session.spec.block_widths)),
        )
