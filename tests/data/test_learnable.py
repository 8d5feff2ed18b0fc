"""Data without anything to learn is refused."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from fashret.data.learnable import check_captions
from fashret.errors import ConfigError, DataError
from fashret.types import TrainingItems
from support.commands import Run

pytestmark = pytest.mark.usefixtures("stand_ins")


def items(caption: list[int], product: list[int], values: list[int] | None = None) -> TrainingItems:
    codes = torch.tensor(values or [-1] * len(caption))
    return TrainingItems(
        torch.arange(len(caption)),
        torch.tensor(product),
        torch.tensor(caption),
        {"category": (codes, ["tees", "coats"])},
        [str(i) for i in range(len(caption))],
    )


@pytest.mark.parametrize(
    ("caption", "product", "fault"),
    [
        ([-1, -1, -1], [0, 1, 2], "none of its 3 training items has a text"),
        ([4, 4, -1], [0, 1, 2], "its 3 training items have one and the same text"),
        ([0, 1, -1], [7, 7, 2], "all of its 2 training items with a text are one product"),
    ],
)
def test_data_without_a_valid_pair_are_refused(
    caption: list[int], product: list[int], fault: str
) -> None:
    made = items(caption, product)
    with pytest.raises(DataError, match=f"data shop has nothing to train on: {fault}"):
        check_captions(made, made.caption, data="shop", batch_items=8, values=True)
    with_values = items(caption, product, [0, 1, -1])
    with pytest.raises(DataError, match=fault):
        check_captions(with_values, made.caption, data="shop", batch_items=8, values=False)
    check_captions(with_values, made.caption, data="shop", batch_items=8, values=True)


def test_two_items_that_differ_are_enough_and_a_batch_of_one_is_not() -> None:
    made = items([0, 1], [-1, -1])  # unknown products are different ones
    check_captions(made, made.caption, data="shop", batch_items=2, values=False)
    with pytest.raises(ConfigError, match=r"data.batch_size=1: a batch of one item"):
        check_captions(made, made.caption, data="shop", batch_items=1, values=True)


def test_photos_without_texts_end_the_run_before_its_first_step(run: Run, tmp_path: Path) -> None:
    for kind, colour in (("tees", "red"), ("coats", "blue")):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(10):
            photo = Image.effect_noise((40, 40), 20 + number).convert("RGB")
            photo.paste(colour, (0, 0, 20, 20))
            photo.save(tmp_path / "photos" / kind / f"{kind}{number}.png")
    options = ("data=folder", f"data.root={tmp_path / 'photos'}", "data.num_workers=0")
    with pytest.raises(DataError, match=r"none of its 1. training items has a text"):
        run("train", *options, small=False)
    assert not (run.at("run") / "checkpoints").exists()
