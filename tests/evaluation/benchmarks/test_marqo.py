"""Marqo's ground truth, on data whose numbers were worked out by hand."""

import json
import math
from pathlib import Path

import pytest

from fashret.errors import ConfigError, FashretError
from fashret.evaluation.benchmarks import (
    Marqo,
)
from support.benchmarks import at, inputs, means_of, result_of
from support.official_sets import write


def test_marqo_by_hand(tmp_path: Path) -> None:
    write(tmp_path / "ground_truth_text-image.json",
          json.dumps({"one": {"1": 1}, "two": {"2": 1, "3": 1, "gone": 1}}))  # fmt: skip
    write(
        tmp_path / "ground_truth_category2-image+text.json", json.dumps({"tees": {"1": 1, "3": 1}})
    )
    typed = {"one": 12.0, "two": 88.0, "tees": 30.0}
    texts = at(180, 0, 0)
    on = inputs(at(0, 40, 90), texts, typed=typed, item_id=["1", "2", "3"])
    protocol = Marqo(split=None, ground_truth=str(tmp_path), weight_image=0.9, prompt="")
    tasks = list(protocol.tasks(on))
    assert [one.task.name for one in tasks] == ["text-to-image", "category2-to-product"]
    assert tasks[0].task.notes == [
        "1 relevant documents of ground_truth_text-image.json are not in the data"
    ]
    first = result_of(tasks[0]).means()
    # "one" finds 1; "two" finds 3, 2: both of the two that are there
    assert first["recall@1"] == (1 + 1 / 2) / 2
    assert first["recall@10"] == 1.0
    assert first["precision@10"] == (1 / 10 + 2 / 10) / 2
    assert first["mrr@10"] == 1.0
    # documents: 0.9 image + 0.1 text, of length 1: 1 stays at 0 degrees, 3 is drawn to 83.7
    documents = tasks[1].gallery[:]
    assert documents.norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-6)
    third = math.degrees(math.atan2(0.9, 0.1))
    assert math.degrees(math.atan2(*documents[2].flip(0).tolist())) == pytest.approx(
        third, abs=1e-4
    )
    second = result_of(tasks[1]).means()
    # "tees" at 30 finds 2 (36.0 degrees), 1, 3
    assert (second["precision@1"], second["mrr@10"]) == (0.0, 0.5)
    assert protocol.averages["AvgRecall"] == ("recall@1", "recall@10")


def test_marqo_files_that_are_not_there_or_of_another_form(tmp_path: Path) -> None:
    protocol = Marqo(split=None, ground_truth=str(tmp_path), weight_image=0.9, prompt="")
    with pytest.raises(ConfigError, match="contains no file ground_truth_"):
        means_of(protocol, inputs(at(0)))
    write(tmp_path / "ground_truth_text-image.json", "[1]")
    with pytest.raises(FashretError, match=r"must be a JSON object \{query"):
        means_of(protocol, inputs(at(0)))
    write(tmp_path / "ground_truth_text-image.json", "{}")
    with pytest.raises(FashretError, match=r"text-image.json contains no query"):
        means_of(protocol, inputs(at(0)))


def test_tables_are_those_of_the_benchmark(tmp_path: Path) -> None:
    """Text queries come first and are told by recall, categories by precision."""
    answers = json.dumps({"one": {"1": 1}, "two": {"2": 1}})
    write(tmp_path / "ground_truth_category-image.json", answers)
    write(tmp_path / "ground_truth_text-text.json", answers)
    write(tmp_path / "other.json", answers)
    typed = {"a photo of one": 5.0, "a photo of two": 80.0}
    on = inputs(at(90, 0, 40), at(0, 90, 45), typed=typed, item_id=["1", "2", "3"])
    protocol = Marqo(split=None, ground_truth=str(tmp_path), weight_image=0.9, prompt="a photo of ")
    text, category = protocol.tasks(on)
    assert (text.task.name, category.task.name) == ("text-to-product", "category-to-image")
    assert list(text.task.headlines) == ["recall@10", "mrr@10"]
    assert list(category.task.headlines) == ["precision@10", "mrr@10"]
    columns = ["recall@1", "recall@10", "mrr@10", "precision@1", "precision@10", "ndcg@10"]
    assert list(text.task.metrics) == columns
    assert list(category.task.metrics) == [
        "precision@1", "precision@10", "mrr@10", "recall@1", "recall@10", "ndcg@10",
    ]  # fmt: skip
    assert text.search.query_names == ["one", "two"]
    assert not text.task.notes
    # By their texts 1 is at 0 degrees and 2 at 90; by their photos it is the other way round.
    assert result_of(text).means()["recall@1"] == 1.0
    assert result_of(category).means()["recall@1"] == 0.0
    write(tmp_path / "ground_truth_text-image+title.json", answers)
    with pytest.raises(ConfigError, match=r"documents of image\+title are not supported"):
        list(protocol.tasks(on))
    write(tmp_path / "ground_truth_text-image+title.json", json.dumps({"one": [1], "two": {}}))
    with pytest.raises(FashretError, match="must be a JSON object"):
        list(protocol.tasks(on))


def test_a_file_whose_documents_are_all_gone_has_no_answer(tmp_path: Path) -> None:
    write(tmp_path / "ground_truth_text-image.json", json.dumps({"one": {"x": 1, "y": 1}}))
    on = inputs(at(0, 10), typed={"one": 0.0}, item_id=["1", "2"])
    protocol = Marqo(split=None, ground_truth=str(tmp_path), weight_image=0.9, prompt="")
    (only,) = protocol.tasks(on)
    assert only.task.notes == [
        "2 relevant documents of ground_truth_text-image.json are not in the data"
    ]
    assert result_of(only).judgment.num_relevant.tolist() == [0]
