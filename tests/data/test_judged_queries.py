"""Judged queries over a table: what is aligned, what is left out, and what is said of it."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fashret.data.judged_queries import (
    Triple,
    queries_of_triples,
    read_triples,
    search_log_queries,
)
from fashret.data.judgments import read_judgments
from fashret.errors import DataError

IDS = ["a", "b", "c", "d", "e"]


def table(*splits: str) -> Any:
    names = np.array(splits or ("train", "train", "train", "test", "test"))
    return SimpleNamespace(
        column=lambda name: IDS,
        splits=("train", "test"),
        rows=lambda split: np.flatnonzero(names == split),
    )


def log_file(folder: Path, *rows: str) -> Path:
    path = folder / "log.csv"
    path.write_text("\n".join(["query,item_id,clicks,split", *rows]))
    return path


def test_judgments_are_related_to_the_rows_of_their_items(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = log_file(tmp_path, "red,c,8,train", "red,a,2,train", "blue,e,3,test", "red,gone,1,train")
    with caplog.at_level(logging.WARNING):
        found = search_log_queries(read_judgments(path), table(), what="log.csv")
    assert "log.csv: 1 of 4 judgments are of items that the data does not have (gone)" in (
        caplog.text
    )
    assert list(found.texts) == ["red", "blue"]
    assert list(found.splits) == ["train", "test"]
    assert found.query.tolist() == [0, 0, 1]
    assert found.row.tolist() == [2, 0, 4]
    assert found.grade.tolist() == [1.0, 0.25, 1.0]  # divided by the largest of the query
    assert found.frequency.tolist() == [11.0, 3.0]


def test_a_split_has_its_queries_and_the_judgments_of_its_items(tmp_path: Path) -> None:
    rows = ("red,a,1,train", "red,d,1,train", "blue,b,0,train", "green,b,2,train", "teal,a,1,test")
    judged = search_log_queries(read_judgments(log_file(tmp_path, *rows)), table(), what="log")
    found = judged.within("train", torch.tensor([0, 1, 2]))
    # blue has no relevant item, and d is of the test.
    assert list(found.texts) == ["red", "green"]
    assert found.position.tolist() == [0, 2]
    assert list(zip(found.query.tolist(), found.row.tolist(), strict=True)) == [(0, 0), (1, 1)]
    assert list(judged.within(None, torch.tensor([0])).texts) == ["red", "teal"]
    assert len(judged.within("test", torch.tensor([3]))) == 0
    some = judged.some(torch.tensor([1, 3]))
    assert list(some.texts) == ["blue", "teal"]
    assert some.position.tolist() == [1, 3]
    assert list(zip(some.query.tolist(), some.row.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_a_log_of_other_items_is_refused(tmp_path: Path) -> None:
    path = log_file(tmp_path, "red,x,1,", "red,y,1,")
    with pytest.raises(DataError, match=r"none of its 2 judgments.*such as a; it names x, y"):
        search_log_queries(read_judgments(path), table(), what="log.csv")


def test_two_targets_of_one_reference_and_text_are_one_query() -> None:
    triples = [
        Triple("a", "darker", "c"), Triple("b", "darker", "c"), Triple("a", "darker", "b"),
        Triple("a", "darker", "c"), Triple("d", "longer", "e"), Triple("d", "longer", "gone"),
    ]  # fmt: skip
    found = queries_of_triples(triples, table(), what="triples")
    assert found.reference is not None
    assert list(zip(found.reference.tolist(), found.texts, strict=True)) == [
        (0, "darker"), (1, "darker"), (3, "longer"),
    ]  # fmt: skip
    answers = list(zip(found.query.tolist(), found.row.tolist(), strict=True))
    assert answers == [(0, 1), (0, 2), (1, 2), (2, 4)]
    assert list(found.splits) == ["train", "train", "test"]
    # A query whose reference is another item is left out with it.
    assert list(found.within("train", torch.tensor([0, 2])).texts) == ["darker"]
    with pytest.raises(DataError, match=r"none of its 1 triples has both .* such as a"):
        queries_of_triples([Triple("a", "darker", "gone")], table(), what="triples")


def test_triples_are_read_from_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "triples.csv"
    path.write_text("Reference,text,target\na,is darker,c\n,is longer,d\na,,b\n")
    assert read_triples(path) == [Triple("a", "is darker", "c")]
    assert "2 rows are left out, since they lack a reference, a text or a target" in caplog.text
    assert "triples.csv line 3" in caplog.text
    path.write_text("reference,text\na,b\n")
    with pytest.raises(DataError, match=r"has no column target; its columns are reference, text"):
        read_triples(path)
    path.write_text("reference,text,target\n,,\n")
    with pytest.raises(DataError, match=r"no row has a reference, a text and a target"):
        read_triples(path)
    with pytest.raises(DataError, match=r"there is no such file"):
        read_triples(tmp_path / "none.csv")
