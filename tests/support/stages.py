"""Embeddings and items of a protocol, small enough to work its numbers out by hand."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from fashret.evaluation.benchmarks.base import OfficialProtocol, Stage
from fashret.tasks.base import Outcome
from fashret.types import UNKNOWN


def at(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1).float()


def codes(values: list[str | None]) -> tuple[Tensor, list[str]]:
    known = sorted({value for value in values if value is not None})
    return torch.tensor([UNKNOWN if v is None else known.index(v) for v in values]), known


def stage(
    images: Tensor,
    texts: Tensor | None = None,
    *,
    typed: dict[str, float] | None = None,
    **columns: list[str | None],
) -> Stage:
    """Items with some columns: product, caption, category, role, and attributes."""
    count = len(images)
    ids = columns.pop("item_id", [f"i{i}" for i in range(count)])
    roles = columns.pop("role", None)
    product = codes(columns.pop("product", [None] * count))[0]
    caption = codes(columns.pop("caption", [f"c{i}" for i in range(count)]))[0]
    category = columns.pop("category", [None] * count)
    described = {"category": codes(category)} | {n: codes(v) for n, v in columns.items()}
    table = SimpleNamespace(
        column=lambda name: ids if name == "item_id" else roles,
        dataset=SimpleNamespace(column_names=["role"] if roles else []),
        attributes=tuple(columns),
        described=("category", *columns),
    )
    return Stage(
        table=table,  # type: ignore[arg-type]  # as much of a table as is read
        codes=SimpleNamespace(product=product, caption=caption, described=described),  # type: ignore[arg-type]
        rows=np.arange(count),
        image=images,
        text=at(*[0.0] * count) if texts is None else texts,
        embed_texts=lambda asked: at(*(typed[text] for text in asked)) if typed else at(),
        weighted=lambda queries: queries,
    )


def judged(protocol: OfficialProtocol, on: Stage) -> dict[str, dict[str, float]]:
    return {task.name: Outcome.of(task).means() for task in protocol.tasks(on)}
