"""Captions that a text tower cuts, and those that it cannot tell apart."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from fashret.data.caption_templates import CaptionTable
from fashret.data.tokens import CaptionTokens
from fashret.functional.relations import pair_relations
from fashret.models.backbone import load_tokenizer
from fashret.models.spec import ModelSpec
from support.commands import Run, session_of

SPEC = ModelSpec(
    name="fashret-tiny", pretrained=None, train="heads", train_blocks=1, heads=True,
    resize="longest", fill=255, seed=0,
)  # fmt: skip


class Words:
    """A tokenizer of words without case, which reads five of them and has no special tokens."""

    context_length = 5

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str], context_length: int = 5) -> Tensor:
        self.seen += texts
        ids = [[1 + sum(map(ord, word)) for word in text.lower().split()] for text in texts]
        return torch.tensor([(row + [0] * context_length)[:context_length] for row in ids])


def test_captions_of_equal_tokens_have_the_code_of_the_first() -> None:
    captions = [
        "a b c d e",  # as many words as are read
        "a b c d e f",  # cut, to the one above
        "A B  C",
        "a b c d e g",  # cut
        "a b c",  # the third
        "a b d",
        "x",
    ]
    found = CaptionTokens.from_captions(captions, Words())
    assert found.first.tolist() == [0, 0, 2, 0, 2, 5, 6]
    assert found.cut.tolist() == [False, True, False, True, False, False, False]


def test_short_captions_of_their_own_letters_are_not_tokenized() -> None:
    words = Words()
    words.context_length = 20
    CaptionTokens.from_captions(
        ["red", "blue", "RED", "a text of many letters", "caf\u00e9"], words
    )
    assert set(words.seen) == {"red", "RED", "a text of many letters", "caf\u00e9", ""}
    assert CaptionTokens.from_captions([], words).first.tolist() == []


def test_equal_tokens_and_cuts_are_those_of_tokenizing_everything(tmp_path: Path) -> None:
    tokenizer: Any = load_tokenizer(SPEC, tmp_path)
    length = tokenizer.context_length
    rng = random.Random(0)
    words = [
        "red",
        "Red",
        "dress",
        "v-neck",
        "T&amp;C",
        "T&C",
        "caf\u00e9",
        "\uff32ed",
        "x",
        "!",
        "7",
    ]
    captions = sorted(
        {
            " ".join(rng.choices(words, k=rng.choice([1, 2, 2, 3, length - 2, 60])))
            for _ in range(600)
        }
        | {"x" * n for n in range(30, 60)}
        | {"x " * n for n in range(length - 4, length + 2)}
    )
    tokens = [tuple(row) for row in tokenizer(captions).tolist()]
    long = [tuple(row) for row in tokenizer(captions, context_length=400).tolist()]
    found = CaptionTokens.from_captions(captions, tokenizer)
    assert found.first.tolist() == [tokens.index(row) for row in tokens]
    assert found.cut.tolist() == [sum(t != 0 for t in row) > length for row in long]
    assert 0 < int(found.cut.sum()) < len(captions)
    assert 0 < len(found.first.unique()) < len(captions)


def test_captions_that_vary_share_the_code_of_equal_tokens() -> None:
    table = CaptionTable(["a", "b", "c"], torch.tensor([[2, 1], [0, -1]]).numpy(), 0.5, 0.0)
    merged = table.merge_equal_tokens(torch.tensor([[7, 7], [8, 8], [7, 7]]))
    assert merged.codes.tolist() == [[0, 1], [0, -1]]
    assert merged.captions == table.captions


def test_texts_that_are_cut_to_the_same_are_right_answers_of_one_another(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Validation: a and b differ in the last of 60 words, behind the 48 tokens that are read; c and
    # d have one text in two spellings; e is alone.
    long = " ".join(["x"] * 59)
    texts = {
        "a": f"{long} left",
        "b": f"{long} right",
        "c": "Red Dress",
        "d": "red dress",
        "e": "e",
    }
    table = "image,item_id,text,product_id,split,category\n"
    for number, (name, text) in enumerate({**texts, "t": "t", "u": "u"}.items()):
        Image.new("RGB", (8, 8), (30 * number, 7, 9)).save(tmp_path / f"{name}.png")
        split = "validation" if name in texts else "train"
        table += f"{name}.png,{name},{text},{name},{split},shirts\n"
    (tmp_path / "items.csv").write_text(table)
    data = [
        "data=folder", f"data.root={tmp_path}", "data.table=items.csv", "data.num_workers=0",
        "retrieval.resamples=20",
    ]  # fmt: skip
    folder = run("evaluate", *data, small=False)
    held = json.loads((folder / "metrics.json").read_text())
    assert held["texts"] == {
        "items": 7, "cut": 2, "context_length": 48, "captions": 7, "captions_by_tokens": 5,
    }  # fmt: skip
    # a, b, c and d have two right answers each, of which one place holds half, and e has one.
    pair = held["metrics"]["val/text/pair/recall@1"]
    assert pair["n"] == 5
    assert pair["ceiling"] == pytest.approx((4 * 0.5 + 1) / 5)
    assert "the texts of 2 of 7 items are truncated to the 48 tokens" in caplog.text
    assert caplog.text.count("are truncated to the 48 tokens") == 1
    assert "such as that of item a: 'x x x" in caplog.text

    # Nor does training push them apart.
    paths = [f"paths.cache_dir={run.cache_dir}", f"paths.output_dir={run.at('out')}"]
    session = session_of("train", [*data, *paths, "device=cpu"])
    batch = session.codes.batch(torch.from_numpy(session.table.rows("validation")))
    related = torch.eye(5, dtype=torch.bool)
    related[0, 1] = related[1, 0] = related[2, 3] = related[3, 2] = True
    assert torch.equal(pair_relations(batch, batch).negative, ~related)

    # A catalog folder does not tell whose tokens these are: there texts are compared as they are.
    where = run.at("catalog")
    run("build_catalog", *data[:4], f"catalog.dir={where}", folder="build", small=False)
    stored = run("evaluate", *data, f"run={where}", "split=validation", folder="s", small=False)
    held = json.loads((stored / "metrics.json").read_text())
    assert held["texts"] is None
    assert held["metrics"]["val/text/pair/recall@1"]["ceiling"] == 1.0
