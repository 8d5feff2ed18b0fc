"""How long one query takes: alone, and with its text's encoding."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fashret.errors import CheckpointError
from fashret.evaluation import latency
from fashret.evaluation.latency import percentiles, search_latency, text_query_latency
from fashret.functional.topk import Ranking
from support.commands import Run


def test_percentiles_are_in_milliseconds_and_linear_between_ranks() -> None:
    # 1 to 100 ms: the median lies between 50 and 51; 0.95 x 99 = 94.05 steps above the first.
    found = percentiles([i / 1000 for i in range(100, 0, -1)])
    assert found == {"p50": 50.5, "p95": 95.05, "n": 100}


class Stand:
    """In place of a retriever."""

    @staticmethod
    def embed_texts(texts: list[str]) -> Tensor:
        raise NotImplementedError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A clock that a search moves by 3 ms and an encoding by 20; what was asked, in order."""
    now, asked = [0.0], []

    def find(queries: Tensor, gallery: Tensor, k: int) -> Ranking:
        now[0] += 0.003
        asked.append(f"search {len(queries)} {queries[0, 0]:g}")
        return Ranking(torch.zeros(len(queries), k, dtype=torch.long), torch.zeros(1, k))

    def embed(texts: list[str]) -> Tensor:
        now[0] += 0.020
        asked.append(f"encode {' '.join(texts)}")
        return torch.ones(len(texts), 2)

    monkeypatch.setattr(latency, "topk", find)
    monkeypatch.setattr(Stand, "embed_texts", staticmethod(embed))
    monkeypatch.setattr("fashret.evaluation.latency.time.perf_counter", lambda: now[0])
    return asked


def test_queries_are_timed_one_at_a_time(clock: list[str]) -> None:
    queries = torch.arange(1000.0)[:, None].expand(-1, 2)
    found = search_latency(queries, torch.eye(2), 1)
    assert found == {"p50": 3.0, "p95": 3.0, "n": 100}
    counted = clock[3:]  # behind those that warm up
    assert [counted[0], counted[-1]] == ["search 1 0", "search 1 999"]
    assert len(set(counted)) == len(counted) == 100


def test_a_text_query_is_timed_with_its_encoding(clock: list[str]) -> None:
    model: Any = Stand()
    found = text_query_latency(model, ["a", "b"], torch.eye(2), 1, lambda asked: 5 * asked)
    assert found == {"p50": 23.0, "p95": 23.0, "n": 2}
    assert clock[-2:] == ["encode b", "search 1 5"]


def test_a_run_leaves_its_latency_in_its_metrics_and_on_its_page(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run("train", "model.train=heads", "trainer.max_epochs=1", "latency=true")
    found = measured(folder)
    assert (found["device"], found["items"]) == ("cpu", 24)
    for kind in ("search_ms", "text_query_ms"):
        assert 0.0 < found[kind]["p50"] <= found[kind]["p95"]
        assert found[kind]["n"] == 24
    assert found["search_ms"]["p50"] < found["text_query_ms"]["p50"]
    page = re.sub(r"\s+", " ", (folder / "report" / "index.html").read_text())
    shown = f"search {found['search_ms']['p50']:.3g} ms (p50), {found['search_ms']['p95']:.3g} ms"
    assert f"among 24 items on cpu: {shown}" in page
    assert f"and search {found['text_query_ms']['p50']:.3g} ms (p50)" in page

    judged = run("evaluate", f"run={folder}", "latency=true", folder="judged", small=False)
    assert {"search_ms", "text_query_ms"} <= set(measured(judged))

    where = run.at("catalog")
    run("build_catalog", f"run={folder}", f"catalog.dir={where}", folder="build", small=False)
    stored = run("evaluate", f"run={where}", "latency=true", folder="stored")
    assert set(measured(stored)) == {"device", "items", "search_ms"}  # there are no towers

    def lost(*args: object) -> None:
        raise CheckpointError("the weights are not here")

    monkeypatch.setattr("fashret.pipelines.session.load_backbone", lost)
    without = run("evaluate", f"run={folder}", "latency=true", folder="without", small=False)
    assert set(measured(without)) == {"device", "items", "search_ms"}
    off = run("evaluate", f"run={folder}", "latency=false", folder="off", small=False)
    assert measured(off) is None
    assert "Latency" not in (off / "report" / "index.html").read_text()


def measured(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_text())["latency"]


def test_three_queries_warm_up_before_any_is_timed(clock: list[str]) -> None:
    queries = torch.arange(5.0)[:, None].expand(-1, 2)
    assert search_latency(queries, torch.eye(2), 1)["n"] == 5
    assert clock == [f"search 1 {i}" for i in (0, 1, 2, 0, 1, 2, 3, 4)]
    clock.clear()
    assert search_latency(queries[4:], torch.eye(2), 1)["n"] == 1
    assert clock == ["search 1 4"] * 2


def test_no_further_query_is_timed_after_ten_seconds(
    clock: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def find(queries: Tensor, gallery: Tensor, k: int) -> Ranking:
        now[0] += 2.5
        return Ranking(torch.zeros(1, k, dtype=torch.long), torch.zeros(1, k))

    monkeypatch.setattr(latency, "topk", find)
    monkeypatch.setattr("fashret.evaluation.latency.time.perf_counter", lambda: now[0])
    found = search_latency(torch.eye(50), torch.eye(50), 1)
    # Four queries take ten seconds, which is no more than that; the fifth is the last.
    assert found == {"p50": 2500.0, "p95": 2500.0, "n": 5}


def test_milliseconds_have_four_digits_behind_the_point() -> None:
    assert percentiles([0.00000123456]) == {"p50": 0.0012, "p95": 0.0012, "n": 1}
