"""Judgments: what formats say, what is summed up, and what is left out with a reason."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fashret.data.judgments import Judgments, frequency_bands, read_judgments
from fashret.errors import ConfigError, DataError


def as_dict(read: Judgments) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {query: {} for query in read.queries}
    triples = zip(read.query.tolist(), read.item_id, read.grade.tolist(), strict=True)
    for query, item, grade in triples:
        found[read.queries[query]][item] = grade
    return found


EXPECTED = {"red dress": {"a": 3.0, "b": 0.0}, "jeans": {"c": 1.0}}


def written(folder: Path, kind: str) -> tuple[Path, Path | None]:
    rows = [("red dress", "a", 3), ("red dress", "b", 0), ("jeans", "c", 1)]
    path = folder / f"log.{kind}"
    if kind in ("csv", "tsv"):
        mark = "," if kind == "csv" else "\t"
        lines = [mark.join(("query", "item_id", "clicks")), *(mark.join(map(str, r)) for r in rows)]
        path.write_text("\n".join(lines))
    elif kind == "jsonl":
        names = ("query", "item_id", "weight")
        path.write_text("\n".join(json.dumps(dict(zip(names, r, strict=True))) for r in rows))
    elif kind == "parquet":
        pd.DataFrame(rows, columns=["search_term", "doc_id", "grade"]).to_parquet(path)
    elif kind == "json":
        path.write_text(json.dumps({"red dress": {"a": 3, "b": 0}, "jeans": {"c": 1}}))
    elif kind == "qrels":
        path.write_text("1 0 a 3\n1 0 b 0\n\n7 0 c 1\n")
        texts = folder / "queries.tsv"
        texts.write_text("1\tred dress\n7\tjeans\n")
        return path, texts
    else:
        (folder / "beir" / "qrels").mkdir(parents=True)
        queries = [{"_id": "1", "text": "red dress"}, {"_id": "7", "text": "jeans"}]
        (folder / "beir" / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
        lines = ["query-id\tcorpus-id\tscore", "1\ta\t3", "1\tb\t0", "7\tc\t1"]
        (folder / "beir" / "qrels" / "test.tsv").write_text("\n".join(lines))
        return folder / "beir", None
    return path, None


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "json", "qrels", "beir"])
def test_every_format_says_the_same(tmp_path: Path, kind: str) -> None:
    path, queries = written(tmp_path, kind)
    read = read_judgments(path, queries=queries)
    assert as_dict(read) == EXPECTED
    assert read.frequency.tolist() == [3.0, 1.0]
    assert set(read.splits) == ({"test"} if kind == "beir" else {""})
    assert read.dropped == {}


def log(folder: Path, *rows: str, header: str = "query,item_id,weight,split") -> Path:
    path = folder / "log.csv"
    path.write_text("\n".join([header, *rows]))
    return path


def test_queries_that_differ_in_case_and_spaces_are_one_and_their_clicks_are_summed(
    tmp_path: Path,
) -> None:
    path = log(tmp_path, "Red  Dress,a,1,", "red dress,a,2.5,", "red dress,b,1,", "RED DRESS,b,,")
    read = read_judgments(path)
    assert as_dict(read) == {"red dress": {"a": 3.5, "b": 2.0}}  # no weight counts as 1
    assert read.frequency.tolist() == [5.5]


@pytest.mark.parametrize(
    ("transform", "grades"),
    [
        ("linear", [9.0, 1.0, 1.0, 0.0]),
        ("log1p", [np.log(10.0), np.log(2.0), np.log(2.0), 0.0]),
        ("rank", [2.0, 1.0, 1.0, 0.0]),
    ],
)
def test_a_grade_is_made_of_a_weight(tmp_path: Path, transform: str, grades: list[float]) -> None:
    path = log(tmp_path, "q,a,9,", "q,b,1,", "q,c,1,", "q,d,0,")
    assert read_judgments(path, transform=transform).grade.tolist() == pytest.approx(grades)


def test_rows_without_a_meaning_are_left_out_with_their_reason(tmp_path: Path) -> None:
    path = log(tmp_path, ",a,1,", "  ,a,1,", "q,,1,", "q,a,-2,", "q,b,nan,", "q,c,inf,", "q,d,x,",
               "q,e,1,")  # fmt: skip
    read = read_judgments(path)
    assert as_dict(read) == {"q": {"e": 1.0}}
    assert read.dropped == {
        "empty query": 2, "no item": 1, "weight below 0": 1, "weight is not a number": 3,
    }  # fmt: skip
    with pytest.raises(DataError, match=r"no row has a query and an item \(1 weight below 0\)"):
        read_judgments(log(tmp_path, "q,a,-1,"))


def test_a_query_belongs_to_one_split(tmp_path: Path) -> None:
    read = read_judgments(log(tmp_path, "q,a,1,train", "r,a,1,dev", "q,b,1,", "s,a,1,"))
    assert dict(zip(read.queries, read.splits, strict=True)) == {
        "q": "train", "r": "validation", "s": "",
    }  # fmt: skip
    with pytest.raises(DataError, match="line 3: the query 'Q' is in the splits train and test"):
        read_judgments(log(tmp_path, "q,a,1,train", "Q,b,1,test"))
    with pytest.raises(DataError, match="split later is none of train, validation, test"):
        read_judgments(log(tmp_path, "q,a,1,later"))


def test_queries_are_split_by_their_text_alone(tmp_path: Path) -> None:
    rows = [f"query {i},a,1," for i in range(400)]
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    read = read_judgments(log(tmp_path, *rows), shares=shares)
    before = dict(zip(read.queries, read.splits, strict=True))
    counts = {split: list(before.values()).count(split) for split in shares}
    assert all(abs(counts[split] - 400 * share) < 40 for split, share in shares.items())
    other = read_judgments(log(tmp_path, *reversed(rows[:50]), "QUERY 3,b,1,"), shares=shares)
    assert all(before[q.casefold()] == s for q, s in zip(other.queries, other.splits, strict=True))
    another = read_judgments(log(tmp_path, *rows), shares=shares, seed=1)
    assert another.splits != read.splits


def test_the_head_has_half_of_all_weight_and_the_tail_the_last_tenth() -> None:
    # Of 100: 40 and 15 are the head, since 40 is not half; three 10s and a 5 bring it to 90.
    frequency = np.array([15.0, 5.0, 40.0, 10.0, 10.0, 10.0, 5.0, 5.0])
    assert frequency_bands(frequency).tolist() == [0, 1, 0, 1, 1, 1, 2, 2]
    assert frequency_bands(np.ones(20)).tolist() == [0] * 10 + [1] * 8 + [2] * 2
    assert frequency_bands(np.zeros(2)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("log.csv", "query,weight\nq,1", "has no column item_id; its columns are query, weight"),
        ("log.json", '{"q": [1]}', "must be a JSON object"),
        ("log.json", "{", "is not JSON"),
        ("log.doc", "x", "give a table with the endings"),
    ],
)
def test_a_file_of_another_structure_is_refused(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        read_judgments(tmp_path / name)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="file not found; name its new path"):
        read_judgments(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"expected queries\.jsonl and qrels/"):
        read_judgments(tmp_path)
    with pytest.raises(ConfigError, match="transform=square: it must be one of linear, log1p"):
        read_judgments(tmp_path / "none.csv", transform="square")
    path, texts = written(tmp_path, "qrels")
    path.write_text("9 0 a 1")
    with pytest.raises(DataError, match=r"line 1: queries\.tsv has no text of query 9"):
        read_judgments(path, queries=texts)
    path.write_text("1 a 1")
    with pytest.raises(DataError, match="line 1: qrels have four fields"):
        read_judgments(path, queries=texts)
    with pytest.raises(DataError, match=r"queries=.*gone: there is no such file"):
        read_judgments(path, queries=tmp_path / "gone")
