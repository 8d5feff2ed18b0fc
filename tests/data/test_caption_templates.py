"""Captions that vary: what may be said of an item, and which pairs it makes right and wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fashret.data.augment import Augment
from fashret.data.caption_templates import Captions
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.data.preparation import prepare
from fashret.data.sources import Folder
from fashret.errors import ConfigError
from fashret.functional.relations import pair_relations
from fashret.loading.batches import PhotoDataset
from fashret.loading.samplers import BatchRows
from support.commands import Run

ITEMS = [  # text, category, colour
    ("A bright red shirt", "shirts", "red"),
    ("Another red shirt", "shirts", "red"),
    ("A shirt", "shirts", "unknown"),
    ("", "skirts", "dark_blue"),
]


@pytest.fixture
def table(tmp_path: Path) -> ItemTable:
    frame = pd.DataFrame(ITEMS * 5, columns=["text", "category", "colour"])
    frame["item_id"] = [f"{i:02}" for i in range(len(frame))]
    frame["image"] = frame["item_id"] + ".png"
    frame.to_csv(tmp_path / "items.csv", index=False)
    for name in frame["image"]:
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    options: dict[str, Any] = {
        "splits": {"train": 0.6, "validation": 0.2, "test": 0.2}, "seed": 0, "split_seed": 0,
        "batch_size": 4, "num_workers": 0, "augment": Augment(flip=0.0, crop=0.0),
    }  # fmt: skip
    source = Folder(
        name="few", root=str(tmp_path), table="items.csv", attributes=["colour"], **options
    )
    return prepare(source, tmp_path / "cache")


def rows_of(table: ItemTable) -> list[int]:
    """A row of each kind of item."""
    described = list(
        zip(table.column("text"), table.column("category"), table.column("colour"), strict=True)
    )
    return [described.index(item) for item in ITEMS]


def test_a_template_is_filled_where_all_its_values_are_known(table: ItemTable) -> None:
    made = Captions(own=0.5, templates=["{colour} {category}", "a {category}"]).fill(table)
    said = [[made.captions[c] if c >= 0 else None for c in made.codes[r]] for r in rows_of(table)]
    assert said == [
        ["A bright red shirt", "red shirts", "a shirts"],
        ["Another red shirt", "red shirts", "a shirts"],
        ["A shirt", None, "a shirts"],
        [None, "dark blue skirts", "a skirts"],
    ]


def test_own_texts_are_as_frequent_as_was_asked(table: ItemTable) -> None:
    made = Captions(own=0.7, templates=["{colour} {category}", "a {category}"]).fill(table)
    first, _, _, textless = rows_of(table)
    chosen = [made.choose(first, f"{seed}") for seed in range(4000)]
    shares = np.bincount(chosen, minlength=3) / len(chosen)
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.03)
    assert chosen[:50] == [made.choose(first, f"{seed}") for seed in range(50)]
    assert {made.choose(textless, f"{seed}") for seed in range(50)} == {1, 2}


def test_a_caption_is_not_wrong_for_another_item_that_it_fits(table: ItemTable) -> None:
    captions = Captions(own=0.0, templates=["{colour} {category}"]).fill(table)
    codes = ItemCodes(table)
    tokens = torch.arange(len(captions.captions))[:, None]
    data = PhotoDataset(table, codes, lambda photo: torch.zeros(3, 2, 2), tokens, captions=captions)
    bright, another, plain, skirt = rows_of(table)
    batch = data.__getitems__(BatchRows(np.array([bright, another, plain, skirt]), 0))
    said = [captions.captions[int(token)] for token in batch["tokens"][:, 0]]
    assert said == ["red shirts", "red shirts", "A shirt", "dark blue skirts"]
    wrong = pair_relations(batch, batch).negative
    assert wrong.tolist() == [
        [False, False, True, True],  # "red shirts" fits the other red shirt
        [False, False, True, True],
        [True, True, False, True],  # whose colour is unknown: "red shirts" is not said of it
        [True, True, True, False],
    ]


def test_words_are_left_out_as_often_as_was_asked(table: ItemTable) -> None:
    made = Captions(own=1.0, templates=[], drop=0.25).fill(table)
    bright = made.captions.index("A bright red shirt")
    said = [made.drop_words(bright, f"{seed}").split() for seed in range(4000)]
    assert sum(map(len, said)) / (4 * len(said)) == pytest.approx(0.75, abs=0.02)
    words = ["A", "bright", "red", "shirt"]
    assert all(text == [word for word in words if word in text] for text in said)  # in order
    assert all(said)  # 16 of the 4,000 would have lost all their words
    assert said[:50] == [made.drop_words(bright, f"{seed}").split() for seed in range(50)]


def test_a_batch_has_the_tokens_of_the_words_that_are_left(table: ItemTable) -> None:
    captions = Captions(own=1.0, templates=[], drop=0.5).fill(table)
    seen: list[str] = []

    def tokenize(texts: Sequence[str]) -> torch.Tensor:
        seen.extend(texts)
        return torch.tensor([[len(text.split())] for text in texts])

    data = PhotoDataset(
        table,
        ItemCodes(table),
        lambda photo: torch.zeros(3, 2, 2),
        torch.zeros(len(captions.captions), 1, dtype=torch.long),
        captions=captions,
        tokenize=tokenize,
    )
    rows = np.array(rows_of(table)[:2])
    batches = [data.__getitems__(BatchRows(rows, epoch)) for epoch in range(30)]
    lengths = [len(text.split()) for text in seen]
    assert torch.cat([batch["tokens"][:, 0] for batch in batches]).tolist() == lengths
    assert set(lengths) == {1, 2, 3, 4}  # another number of words in each epoch


def test_a_template_of_an_unknown_column_is_answered(table: ItemTable) -> None:
    with pytest.raises(ConfigError, match=r"'a \{fabric\}' names fabric; the data has category"):
        Captions(own=0.5, templates=["a {fabric}"]).fill(table)


def test_captions_need_towers_that_learn(run: Run) -> None:
    captions = "{_target_: fashret.data.caption_templates.Captions, own: 0.5, templates: []}"
    with pytest.raises(ConfigError, match=r"data\.captions needs trained towers"):
        run("train", "model.train=heads", f"data.captions={captions}")
