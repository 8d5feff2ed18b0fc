"""How many products and photos a batch has."""

import pytest

from fashret.data.product_batches import ProductBatches
from fashret.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "batch_size", "most", "expected"),
    [
        ({}, 256, 9, (64, 4, 0)),
        ({}, 256, 2, (128, 2, 0)),  # no product has more than two photos
        ({"photos": 3}, 64, 3, (21, 3, 0)),
        ({"products": 10}, 8, 4, (10, 4, 0)),  # what is named counts, not the batch size
        ({"single_photos": 0.25}, 64, 4, (12, 4, 16)),
        ({"photos": 2}, 4, 2, (2, 2, 0)),
    ],
)
def test_a_batch_is_filled_with_products(
    given: dict[str, float], batch_size: int, most: int, expected: tuple[int, int, int]
) -> None:
    assert ProductBatches(**given).sizes(batch_size, most) == expected  # type: ignore[arg-type]  # numbers


def test_a_batch_without_room_for_two_products_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"has room for 1 products with 4 photos.*at least 8"):
        ProductBatches().sizes(7, 5)
    with pytest.raises(ConfigError, match=r"at least 12"):
        ProductBatches(single_photos=0.5).sizes(9, 4)


@pytest.mark.parametrize(
    "given",
    [{"photos": 1}, {"products": 1}, {"every": "week"}, {"single_photos": 1.0}],
)
def test_values_are_within_their_ranges(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"data\.batch"):
        ProductBatches(**given)  # type: ignore[arg-type]  # wrong on purpose
