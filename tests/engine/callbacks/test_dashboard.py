"""TensorBoard's charts, and the hits of fixed queries."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from fashret.engine.callbacks import dashboard
from fashret.engine.callbacks.dashboard import Dashboard
from fashret.engine.callbacks.retrieval import RetrievalEvaluation
from fashret.errors import ConfigError
from support.plans import plan_of

NOTHING: Any = None


class Board(TensorBoardLogger):
    """Keeps what is written."""

    def __init__(self) -> None:
        self.layouts: list[Any] = []
        self.images: list[tuple[str, int]] = []

    @property
    def experiment(self) -> Any:
        return SimpleNamespace(add_custom_scalars=self.layouts.append, add_image=self.add_image)

    def add_image(self, tag: str, picture: Any, step: int, dataformats: str) -> None:
        assert dataformats == "HWC"
        assert picture.shape == (2, 3, 3)
        self.images.append((tag, step))


TABLE = SimpleNamespace(
    column=lambda name: (
        ["t0", "t" * 150, None, "t3", "t4", "t5"]
        if name == "text"
        else ["a", "b", "c", None, "e", "f"]
    ),
    photo=lambda row: f"photo {row}",
)


def trainer_of(board: Any, rankings: dict[str, list[list[int]]] | None, **given: Any) -> Any:
    plan = plan_of(list(range(6)), category=[0] * 6, colour=[0] * 6)
    evaluation = RetrievalEvaluation()
    if rankings is not None:
        held: Any = SimpleNamespace(
            rankings={n: SimpleNamespace(rows=torch.tensor(rows)) for n, rows in rankings.items()}
        )
        evaluation.evaluation = held
    plain: dict[str, Any] = {
        "loggers": [object(), board], "is_global_zero": True, "sanity_checking": False,
        "callbacks": [object(), evaluation], "global_step": 12,
        "datamodule": SimpleNamespace(table=TABLE, plan=plan),
    }  # fmt: skip
    return SimpleNamespace(**plain | given)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows of the pictures."""
    found: list[Any] = []

    def photo_rows(rows: Any) -> Any:
        found.append(rows)
        return np.zeros((2, 3, 3), dtype=np.uint8)

    monkeypatch.setattr(dashboard, "photo_rows", photo_rows)
    return found


RANKED = [[1, 2, 3], [0, -1, -1], [-1, -1, -1], [4, 0, 1], [5, 3, 2], [4, 3, 0]]


def test_a_picture_has_each_query_before_its_hits(drawn: list[Any]) -> None:
    board = Board()
    Dashboard(queries=3, hits=2).on_validation_end(trainer_of(board, {"image": RANKED}), NOTHING)
    assert board.images == [("queries/image", 12)]
    # Of the queries 0, 1, 3, 4, 5 that have hits, the first, the one in the middle and the last.
    assert drawn == [
        [
            ("a: t0", [("photo 0", "the query"), ("photo 1", "b"), ("photo 2", "c")]),
            (": t3", [("photo 3", "the query"), ("photo 4", "e"), ("photo 0", "a")]),
            ("f: t5", [("photo 5", "the query"), ("photo 4", "e"), ("photo 3", "")]),
        ]
    ]


def test_texts_have_no_photo_and_a_few_queries_are_all_drawn(drawn: list[Any]) -> None:
    board = Board()
    rankings = {"text": [RANKED[1]] * 2 + [[-1] * 3] * 4, "fused": RANKED}
    Dashboard().on_validation_end(trainer_of(board, rankings), NOTHING)
    assert board.images == [("queries/text", 12)]
    (rows,) = drawn
    assert rows == [("a: t0", [("photo 0", "a")]), (f"b: {'t' * 100}", [("photo 0", "a")])]


def test_a_query_without_a_text_has_its_category_for_a_title(drawn: list[Any]) -> None:
    ranked = [[-1, -1]] * 2 + [[0, 1]] + [[-1, -1]] * 3
    Dashboard().on_validation_end(trainer_of(Board(), {"text": ranked}), NOTHING)
    assert [title for title, _ in drawn[0]] == ["c: "]


def test_nothing_is_drawn_without_hits_an_evaluation_or_a_query(drawn: list[Any]) -> None:
    board = Board()
    nothing = [[-1, -1]] * 6
    for callback, trainer in (
        (Dashboard(), trainer_of(board, {"image": nothing})),
        (Dashboard(), trainer_of(board, None)),
        (Dashboard(), trainer_of(board, {"image": RANKED}, callbacks=[])),
        (Dashboard(), trainer_of(board, {"image": RANKED}, sanity_checking=True)),
        (Dashboard(), trainer_of(board, {"image": RANKED}, is_global_zero=False)),
        (Dashboard(queries=0), trainer_of(board, {"image": RANKED})),
    ):
        callback.on_validation_end(trainer, NOTHING)
    assert board.images == []
    assert drawn == []


def test_six_queries_with_eight_hits_are_drawn_unless_told_otherwise() -> None:
    plain = Dashboard()
    assert (plain.queries, plain.hits) == (6, 8)
    assert (Dashboard(queries=0, hits=1).queries, Dashboard(hits=1).hits) == (0, 1)
    for queries, hits in ((-1, 1), (0, 0)):
        with pytest.raises(ConfigError, match=f"queries={queries} hits={hits}: must be at least 0"):
            Dashboard(queries=queries, hits=hits)


def matching(layout: Any, group: str, tags: list[str]) -> dict[str, set[str]]:
    """The tags that each chart of a group shows."""
    charts: dict[str, set[str]] = {}
    for title, (kind, (expression,)) in layout[group].items():
        assert kind == "Multiline"
        charts[title] = {tag for tag in tags if re.match(expression, tag)}
    return charts


def test_charts_show_the_tags_of_their_group() -> None:
    board = Board()
    Dashboard().on_fit_start(trainer_of(board, None), NOTHING)
    (layout,) = board.layouts
    tags = [
        "val/image/product/hit@2", "val/text/product/mrr@2", "val/image/product/hit@20",
        "val/image/category/precision@2", "val/image/category/precision@2[a]",
        "val/image/colour/precision@2", "val/image/colour/precision@5",
        "val/image/colour/precision@2[red]", "val/text/pair/mrr@2",
        "val/fused/category/precision@2",
        "train/loss", "train/loss_hard", "train/loss_tiers", "train/accuracy_x",
        "train/hard_negatives", "mix/items_seen", "train/items_per_s", "train/lr",
        "val/text/judged/ndcg@2",
    ]  # fmt: skip
    assert matching(layout, "overall", tags) == {
        "product": {"val/image/product/hit@2", "val/text/product/mrr@2"},
        "pair": {"val/text/pair/mrr@2"},
        "category": {"val/image/category/precision@2", "val/fused/category/precision@2"},
    }
    assert matching(layout, "attributes", tags) == {
        "colour": {"val/image/colour/precision@2", "val/image/colour/precision@5"}
    }
    assert matching(layout, "slices", tags) == {
        "category": {"val/image/category/precision@2[a]"},
        "colour": {"val/image/colour/precision@2[red]"},
    }
    assert matching(layout, "losses", tags)["all"] == {
        "train/loss", "train/loss_hard", "train/loss_tiers",
    }  # fmt: skip
    assert matching(layout, "mining", tags)["tiers"] == {"train/loss_hard", "train/loss_tiers"}
    assert matching(layout, "throughput", tags) == {
        "items a second": {"train/items_per_s"}, "learning rate": {"train/lr"},
    }  # fmt: skip
    trainer = trainer_of(board, None)
    trainer.datamodule.plan.judged["search_log"] = object()
    Dashboard().on_fit_start(trainer, NOTHING)
    assert matching(board.layouts[1], "overall", tags)["judged"] == {"val/text/judged/ndcg@2"}
