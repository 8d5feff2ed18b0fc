"""Tiers of pairs: which attributes decide them, and which pairs each level sets against which."""

import pytest
import torch
from torch import Tensor

from fashret.functional.tiers import TierCodes, pair_tiers
from fashret.types import TrainingItems

UNKNOWN = -1


def table() -> TrainingItems:
    codes = {
        "neckline": torch.tensor([0, 1, 1]),
        "category": torch.tensor([0, 0, 1]),
        "material": torch.tensor([2, -1, 0]),
        "sleeve": torch.tensor([1, 1, 0]),
    }
    return TrainingItems(
        torch.arange(3),
        torch.tensor([5, 6, 7]),
        torch.tensor([8, 8, -1]),
        {name: (values, list("abc")) for name, values in codes.items()},
        list("xyz"),
        {"medium": ["material", "fabric"], "weak": ["sleeve", "neckline"]},
    )


def test_codes_stand_in_the_order_of_the_data_without_the_category() -> None:
    codes = TierCodes.from_items(table())
    assert codes.category.tolist() == [0, 0, 1]
    assert codes.product.tolist() == [5, 6, 7]
    assert codes.caption.tolist() == [8, 8, -1]
    assert codes.attributes.tolist() == [[0, 2, 1], [1, -1, 1], [1, 0, 0]]
    assert list(codes.medium) == [1]  # fabric is none of the data's
    assert list(codes.weak) == [2, 0]


def test_codes_of_some_attributes_and_of_none() -> None:
    some = TierCodes.from_items(table(), ["sleeve", "category", "collar"])
    assert some.attributes.tolist() == [[1], [1], [0]]
    assert list(some.medium) == []
    assert list(some.weak) == [0]
    none = TierCodes.from_items(table(), [])
    assert none.attributes.tolist() == [[UNKNOWN]] * 3
    assert not none.medium
    assert not none.weak
    masks = pair_tiers(none[:, None], none[None])
    assert not masks.hard.any()
    assert masks.easy.tolist() == [
        [False, False, True], [False, False, True], [True, True, False],
    ]  # fmt: skip


def test_some_of_the_items_are_chosen_with_all_that_is_known_of_them() -> None:
    chosen = TierCodes.from_items(table())[torch.tensor([2, 0])]
    assert chosen.category.tolist() == [1, 0]
    assert chosen.product.tolist() == [7, 5]
    assert chosen.caption.tolist() == [-1, 8]
    assert chosen.attributes.tolist() == [[1, 0, 0], [0, 2, 1]]
    assert (list(chosen.medium), list(chosen.weak)) == ([1], [2, 0])


def random_items(seed: int, n: int) -> TierCodes:
    generator = torch.Generator().manual_seed(seed)

    def codes(high: int, *shape: int) -> Tensor:
        return torch.randint(-1, high, shape or (n,), generator=generator)

    return TierCodes(codes(3), codes(30), codes(40), codes(2, n, 4), medium=[1, 3], weak=[0, 2])


def level_of(items: TierCodes, i: int, j: int) -> dict[str, str]:
    """By tier whether a pair is positive, negative or neither, in words and loops."""
    categories = int(items.category[i]), int(items.category[j])
    same_category = categories[0] == categories[1] != UNKNOWN
    other_category = categories[0] != categories[1] and UNKNOWN not in categories
    product = bool(items.product[i] == items.product[j] != UNKNOWN)
    caption = bool(items.caption[i] == items.caption[j] != UNKNOWN)
    a, b = items.attributes[i].tolist(), items.attributes[j].tolist()
    equal = [k for k in range(4) if a[k] == b[k] != UNKNOWN]
    differ = [k for k in range(4) if a[k] != b[k] and UNKNOWN not in (a[k], b[k])]
    strong = product or (same_category and a == b and bool(equal))
    medium = strong or (same_category and bool({1, 3} & set(equal)))
    weak = medium or (same_category and bool({0, 2} & set(equal)))
    found = {}
    for tier, positive, places in (
        ("strong", strong, {0, 1, 2, 3}),
        ("medium", medium, {1, 3}),
        ("weak", weak, {0, 2}),
    ):
        # Against a tier: another category, or one of its attributes differs and none is equal (of
        # the strong tier any difference will do).
        apart = same_category and bool(places & set(differ))
        if tier != "strong":
            apart = apart and not places & set(equal)
        negative = not positive and not product and not caption and (other_category or apart)
        found[tier] = "positive" if positive else "negative" if negative else "neither"
    return found


@pytest.mark.parametrize("seed", range(3))
def test_levels_set_nearer_pairs_against_those_that_are_known_to_be_farther(seed: int) -> None:
    items = random_items(seed, 50)
    levels = pair_tiers(items[:, None], items[None]).relations_by_tier()
    assert list(levels) == ["strong", "medium", "weak"]
    seen = set()
    for i in range(50):
        for j in range(50):
            for tier, expected in level_of(items, i, j).items():
                positive = bool(levels[tier].positive[i, j])
                negative = bool(levels[tier].negative[i, j])
                found = "positive" if positive else "negative" if negative else "neither"
                assert not (positive and negative)
                assert found == expected, (i, j, tier)
                seen.add((tier, found))
    assert len(seen) == 9
