"""Relations of a batch against the rules, pair by pair."""

import pytest
import torch
from torch import Tensor

from fashret.functional.relations import equal_codes, pair_relations, value_relations
from fashret.types import Batch
from support.batches import batch


def test_own_captions_are_positive_and_false_negatives_are_ignored() -> None:
    relations = pair_relations(batch(), batch())
    positive = [(i, i) for i in range(5)]  # item 5 has no caption
    assert relations.positive.nonzero().tolist() == [list(pair) for pair in positive]
    ignored = {(0, 1), (1, 0), (2, 3), (3, 2)}
    for row in range(6):
        for column in range(6):
            expected = row != column and 5 not in (row, column) and (row, column) not in ignored
            assert bool(relations.negative[row, column]) == expected, (row, column)


def test_what_is_unknown_equals_nothing() -> None:
    """Two items of unknown product are no product: each is a wrong answer for the other."""
    unknown = torch.tensor([-1, -1, 2])
    assert equal_codes(unknown, unknown).tolist() == [
        [False, False, False],
        [False, False, False],
        [False, False, True],
    ]
    items = Batch(index=torch.arange(3), product=unknown, caption=torch.arange(3))
    several = pair_relations(items, items, several_positives=True)
    assert torch.equal(several.positive, torch.eye(3, dtype=torch.bool))
    assert torch.equal(several.negative, ~torch.eye(3, dtype=torch.bool))
    values = value_relations(unknown, torch.tensor([-1, 2, 3]))
    assert values.positive.nonzero().tolist() == [[2, 1]]
    assert values.negative.nonzero().tolist() == [[2, 2]]


def drawn(seed: int, size: int) -> Batch:
    """Items with few products and texts, whose captions are one of three candidates each."""
    generator = torch.Generator().manual_seed(seed)

    def codes(high: int, *shape: int) -> Tensor:
        return torch.randint(-1, high, shape, generator=generator)

    candidates = codes(5, size, 3)
    choice = torch.randint(0, 3, (size,), generator=generator)
    return Batch(
        index=torch.randperm(2 * size, generator=generator)[:size],
        product=codes(4, size),
        caption=candidates.gather(1, choice[:, None])[:, 0],
        caption_candidates=candidates,
        caption_choice=choice,
    )


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_relations_follow_the_rules(seed: int, varied: bool, several: bool) -> None:
    rows, columns = drawn(seed, 12), drawn(seed + 10, 15)
    if not varied:
        for batch in (rows, columns):
            del batch["caption_candidates"], batch["caption_choice"]
    found = pair_relations(rows, columns, several_positives=several)
    seen = {"positive": 0, "negative": 0, "neither": 0}
    for i in range(12):
        for j in range(15):
            own = rows["index"][i] == columns["index"][j]
            mates = own or rows["product"][i] == columns["product"][j] != -1
            captions = int(rows["caption"][i]), int(columns["caption"][j])
            # The caption of a column may be one that the row's item could have had there too.
            could = (
                varied
                and rows["caption_candidates"][i, columns["caption_choice"][j]] == captions[1]
            )
            told = -1 not in captions
            positive = told and bool(mates if several else own)
            negative = told and not (mates or captions[0] == captions[1] or could)
            assert bool(found.positive[i, j]) == positive, (i, j)
            assert bool(found.negative[i, j]) == negative, (i, j)
            seen["positive" if positive else "negative" if negative else "neither"] += 1
    assert all(seen.values())


def test_a_batch_in_which_everything_is_told_needs_no_rule_for_silence() -> None:
    items = Batch(
        index=torch.arange(3), product=torch.tensor([0, 1, 1]), caption=torch.tensor([0, 1, 2])
    )
    found = pair_relations(items, items)
    assert found.positive.tolist() == torch.eye(3, dtype=torch.bool).tolist()
    assert found.negative.nonzero().tolist() == [[0, 1], [0, 2], [1, 0], [2, 0]]


def test_large_indices_stay_apart() -> None:
    items = Batch(
        index=torch.tensor([7, 2**31 - 1]), product=torch.tensor([-1, -1]), caption=torch.arange(2)
    )
    assert torch.equal(pair_relations(items, items).positive, torch.eye(2, dtype=torch.bool))
