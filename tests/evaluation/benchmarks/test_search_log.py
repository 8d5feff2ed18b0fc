"""A search log as a benchmark: graded nDCG, both conventions of MAP, and bands of frequency."""

import math
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
import torch

from fashret.errors import ConfigError, DataError
from fashret.evaluation.benchmarks import SearchLog
from fashret.evaluation.benchmarks.base import evaluate_benchmark
from support.benchmarks import FEW, at, inputs, means_of
from support.commands import SMALL, Run, metrics, session_of

ANGLES = (0.0, 10.0, 20.0, 30.0, 40.0)


def log(folder: Path, *rows: str) -> str:
    path = folder / "log.csv"
    path.write_text("\n".join(["query,item_id,clicks", *rows]))
    return str(path)


def test_grades_are_linear_gains_and_every_clicked_item_is_relevant(tmp_path: Path) -> None:
    # The query at 0 degrees finds i0, i1, i2, i3, i4 in this order.
    path = log(tmp_path, "dress,i1,4", "dress,i3,1", "dress,i0,0")
    found = means_of(SearchLog(judgments=path, k=[2, 5]), inputs(at(*ANGLES), typed={"dress": 0.0}))
    result = found["judged"]
    discount = [1 / math.log2(1 + rank) for rank in (1, 2, 3, 4)]
    ideal = 4 * discount[0] + 1 * discount[1]
    assert result["ndcg@2"] == pytest.approx(4 * discount[1] / ideal)
    assert result["ndcg@5"] == pytest.approx((4 * discount[1] + 1 * discount[3]) / ideal)
    assert result["mrr@2"] == pytest.approx(1 / 2)
    assert result["recall@2"] == pytest.approx(1 / 2)
    assert result["recall@5"] == pytest.approx(1.0)
    assert result["map@2"] == pytest.approx((1 / 2) / 2)  # over min(k, R) = 2
    assert result["map@5"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    three = log(tmp_path, "dress,i1,4", "dress,i3,1", "dress,i4,1")
    other = means_of(SearchLog(judgments=three, k=[2]), inputs(at(*ANGLES), typed={"dress": 0.0}))
    assert other["judged"]["map@2"] == pytest.approx((1 / 2) / 2)
    assert other["judged"]["map_cut@2"] == pytest.approx((1 / 2) / 3)  # over R = 3


@pytest.mark.parametrize("seed", [0, 1])
def test_metrics_equal_trec_evals(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    items, typed = 30, {f"q{i}": float(rng.uniform(0, 180)) for i in range(8)}
    angles = rng.uniform(0, 180, items)
    judged = {
        query: {f"i{item}": int(rng.integers(0, 5)) for item in rng.choice(items, 9, replace=False)}
        for query in typed
    }
    rows = [f"{q},{item},{grade}" for q, of in judged.items() for item, grade in of.items()]
    found = means_of(
        SearchLog(judgments=log(tmp_path, *rows), k=[5]), inputs(at(*angles), typed=typed)
    )["judged"]
    scores = at(*typed.values()).double() @ at(*angles).double().T
    run = {
        query: {f"i{item}": float(scores[i, item]) for item in range(items)}
        for i, query in enumerate(typed)
    }
    theirs = pytrec_eval.RelevanceEvaluator(
        judged, {"ndcg_cut.5", "map_cut.5", "recall.5"}
    ).evaluate(run)
    for ours, name in (
        ("ndcg@5", "ndcg_cut_5"), ("map_cut@5", "map_cut_5"), ("recall@5", "recall_5"),
    ):  # fmt: skip
        expected = np.mean([each[name] for each in theirs.values()])
        assert found[ours] == pytest.approx(expected, abs=1e-6), ours


def test_items_may_be_photo_and_text_mixed(tmp_path: Path) -> None:
    path = log(tmp_path, "dress,i0,1")
    texts = torch.cat([at(90.0), at(5.0), torch.zeros(1, 2)])
    on = inputs(at(0.0, 60.0, 20.0), texts, typed={"dress": 0.0})

    def rank(weight: float) -> float:
        return (
            1
            / means_of(SearchLog(judgments=path, k=[3], weight_image=weight), on)["judged"]["mrr@3"]
        )

    assert rank(1.0) == pytest.approx(1)  # i0 is at 0 degrees
    # Half and half i0 is at 45 degrees, i1 at 32.5; i2 has no text and stays at 20.
    assert rank(0.5) == pytest.approx(3)
    with pytest.raises(ConfigError, match=r"weight_image=1\.5: it must be within 0 and 1"):
        SearchLog(judgments=path, weight_image=1.5)


def test_queries_are_also_evaluated_by_their_frequency(tmp_path: Path) -> None:
    rows = ["a,i0,50", "b,i4,30", "c,i2,15", "d,i1,5"]  # 50, 30, 15 and 5 percent of all clicks
    typed = {"a": 0.0, "b": 0.0, "c": 20.0, "d": 0.0}
    benchmark = SearchLog(judgments=log(tmp_path, *rows), k=[1])
    evaluation = evaluate_benchmark(benchmark, "test", FEW, inputs(at(*ANGLES), typed=typed))
    found = evaluation.means()
    assert found["test/search_log/judged/mrr@1"] == 0.5
    assert found["test/search_log/judged/mrr@1[head]"] == 1.0  # a alone
    # b and c: the query at 0 does not find i4
    assert found["test/search_log/judged/mrr@1[torso]"] == 0.5
    assert found["test/search_log/judged/mrr@1[tail]"] == 0.0  # d
    assert evaluation.results()["test/search_log/judged/mrr@1[torso]"]["n"] == 2


def test_queries_of_another_split_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("query,item_id,clicks,split\na,i0,1,train\nb,i4,1,test\nc,i1,1,\n")
    typed = {"a": 0.0, "b": 0.0, "c": 10.0}
    on = inputs(at(*ANGLES), typed=typed)
    assert means_of(SearchLog(judgments=str(path), k=[1]), on)["judged"]["mrr@1"] == 0.5  # b and c
    trained = SearchLog(judgments=str(path), k=[1], query_split="train")
    assert means_of(trained, on)["judged"]["mrr@1"] == 1.0  # a and c


def test_judgments_of_no_item_are_refused(tmp_path: Path) -> None:
    path = log(tmp_path, "dress,x1,1", "dress,x2,1")
    on = inputs(at(*ANGLES), typed={"dress": 0.0})
    with pytest.raises(DataError, match=r"none of its 2 judgments.*such as i0; it names x1, x2"):
        means_of(SearchLog(judgments=path), on)
    zero = log(tmp_path, "dress,i1,0")
    with pytest.raises(ConfigError, match=r"no query of query_split=test has a relevant item amo"):
        means_of(SearchLog(judgments=zero), on)


@pytest.mark.usefixtures("stand_ins")
def test_a_search_log_by_its_command(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = f"paths.cache_dir={run.cache_dir}"
    table = session_of("evaluate", [*SMALL, cache, "paths.output_dir=none"]).table
    ids = [table.column("item_id")[row] for row in table.rows("validation")[:6]]
    path = log(tmp_path, *(f"red dress,{name},{i}" for i, name in enumerate(ids)), "denim,gone,3")
    out = run("evaluate", "protocol=search_log", f"protocol.judgments={path}", folder="judged")
    result = metrics(out)["val/search_log/judged/ndcg@10"]
    assert result["n"] == 1
    assert 0.0 <= result["low"] <= result["value"] <= result["high"] <= 1.0
    assert "1 of 7 judgments are of items that the data does not have (gone)" in caplog.text
    assert "1 judgments are of items that are not in the data" in (out / "protocol.md").read_text()


def test_chance_is_known_where_grades_are_all_one(tmp_path: Path) -> None:
    def ends(*rows: str) -> tuple[float | None, float | None]:
        benchmark = SearchLog(judgments=log(tmp_path, *rows), k=[2])
        on = inputs(at(*ANGLES), typed={"a": 0.0})
        results = evaluate_benchmark(benchmark, "test", FEW, on).results()
        result = results["test/search_log/judged/ndcg@2"]
        return result["ceiling"], result["chance"]

    # Two of five items are relevant, and an ideal ranking begins with both.
    assert ends("a,i0,3", "a,i3,3") == (1.0, pytest.approx(2 / 5))
    for rows in (("a,i0,3", "a,i3,1"), ("a,i0,1", "a,i3,3")):  # the other grade is found, or not
        assert ends(*rows) == (1.0, None)


def test_options_that_are_not_given_are_those_of_the_configuration() -> None:
    """conf/protocol/search_log.yaml has the same values."""
    assert SearchLog(judgments="log.csv").identity() == {
        "name": "search_log", "split": None, "judgments": "log.csv", "queries": None,
        "transform": "linear", "query_split": "test", "splits": None, "split_seed": 0,
        "weight_image": 1.0, "k": (1, 10),
    }  # fmt: skip
    for weight in (0.0, 1.0):
        assert SearchLog(judgments="log.csv", weight_image=weight).weight_image == weight
    with pytest.raises(ConfigError, match=r"weight_image=-0\.1"):
        SearchLog(judgments="log.csv", weight_image=-0.1)


def test_new_products_are_searched_alone_where_items_of_other_splits_are_searched_too(
    tmp_path: Path,
) -> None:
    """Of five items i1, i3 and i4 are of the split test; the query at 0 degrees is answered by i3
    and by i0."""
    path = log(tmp_path, "dress,i3,1", "dress,i0,1")
    on = inputs(at(*ANGLES), typed={"dress": 0.0})
    rows = {"train": np.array([0, 2]), "test": np.array([1, 3, 4])}
    on.table.splits = tuple(rows)  # type: ignore[misc]  # a stand-in
    on.table.rows = lambda split: rows[split]  # type: ignore[method-assign]
    benchmark = SearchLog(judgments=path, k=[1, 3])
    tasks = list(benchmark.tasks(on))
    assert [one.task.name for one in tasks] == ["judged", "judged unseen products"]
    assert tasks[1].search.gallery_rows.tolist() == [1, 3, 4]
    torch.testing.assert_close(tasks[1].gallery[:], at(10, 30, 40))
    assert list(tasks[0].task.headlines) == ["ndcg@3", "mrr@3"]
    names = [f"{m}@{k}" for m in ("ndcg", "map", "map_cut", "mrr", "recall") for k in (1, 3)]
    assert list(tasks[0].task.metrics) == names
    found = means_of(benchmark, on)
    # All: i0, i1, i2, of which the first is right, and i3 comes after; alone: i1, i3, i4.
    assert found["judged"]["mrr@3"] == 1.0
    assert found["judged"]["recall@3"] == 0.5
    assert found["judged unseen products"]["mrr@3"] == 0.5
    assert found["judged unseen products"]["recall@3"] == 1.0
    # No second task where the other split's items are not searched, or nothing there is relevant.
    rows["test"] = np.arange(5)
    assert len(list(benchmark.tasks(on))) == 1
    rows["test"] = np.array([1, 2, 4])
    assert len(list(benchmark.tasks(on))) == 1
