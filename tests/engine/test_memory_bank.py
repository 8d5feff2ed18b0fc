"""Earlier embeddings: the latest ones, and their codes."""

import pytest
import torch

from fashret.engine.memory_bank import MemoryBank
from fashret.types import UNKNOWN, Batch


def batch_of(*index: int, asked: bool = False) -> Batch:
    own = torch.tensor(index)
    made = Batch(index=own, product=own + 100, caption=own + 200)
    return made | {"asked": torch.tensor(index) + 300} if asked else made  # type: ignore[return-value]


def rows(*index: int) -> torch.Tensor:
    """The embedding of an item is its number, and that number negated."""
    numbers = torch.tensor(index).float()
    return torch.stack([numbers, -numbers], dim=1)


@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (3, 3, 3), (1, 4, 2, 1), (4, 5, 3), (9, 2)])
def test_the_latest_are_kept_whatever_the_batches_are(sizes: tuple[int, ...]) -> None:
    memory, seen, number = MemoryBank(4, 2), list[int](), 0
    for size in sizes:
        index = list(range(number, number + size))
        memory.add(rows(*index), batch_of(*index))
        seen += index
        number += size
        columns, codes = memory.stored(batch_of(0))
        kept = codes["index"].tolist()
        assert sorted(kept) == seen[-4:]
        assert columns.tolist() == rows(*kept).tolist()
        assert codes["product"].tolist() == [i + 100 for i in kept]
        assert codes["caption"].tolist() == [i + 200 for i in kept]


def test_a_batch_larger_than_the_memory_leaves_its_last_embeddings() -> None:
    memory = MemoryBank(3, 2)
    memory.add(rows(*range(8)), batch_of(*range(8)))
    assert sorted(memory.stored(batch_of(0))[1]["index"].tolist()) == [5, 6, 7]
    memory.add(rows(8), batch_of(8))
    assert sorted(memory.stored(batch_of(0))[1]["index"].tolist()) == [6, 7, 8]


def test_nothing_is_stored_at_first() -> None:
    columns, codes = MemoryBank(3, 2).stored(batch_of(0))
    assert columns.shape == (0, 2)
    assert codes["index"].tolist() == []


def test_codes_that_a_batch_lacks_are_unknown() -> None:
    memory = MemoryBank(4, 2)
    memory.add(rows(1, 2), batch_of(1, 2))
    memory.add(rows(3), batch_of(3, asked=True))
    assert set(memory.stored(batch_of(0))[1]) == {"index", "product", "caption"}
    found = memory.stored(batch_of(0, asked=True))[1]
    assert found["asked"].tolist() == [UNKNOWN, UNKNOWN, 303]


def test_what_is_given_back_does_not_change_with_the_memory() -> None:
    memory = MemoryBank(2, 2)
    memory.add(rows(1, 2).requires_grad_(), batch_of(1, 2))
    columns, codes = memory.stored(batch_of(0))
    memory.add(rows(3, 4), batch_of(3, 4))
    assert columns.tolist() == rows(1, 2).tolist()
    assert codes["index"].tolist() == [1, 2]
    assert not columns.requires_grad
