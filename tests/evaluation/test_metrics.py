"""The torchmetrics classes against their definitions, pytrec_eval, and one process."""

import copy
import doctest
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytorch_lightning as pl
import pytrec_eval
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from fashret.errors import ConfigError, DataError
from fashret.evaluation import metrics, ranked_rows, retrieval_metric
from fashret.evaluation.metrics import (
    RetrievalHitRate,
    RetrievalMAP,
    RetrievalMRR,
    RetrievalNDCG,
    RetrievalPrecision,
    RetrievalRecall,
)

CLASSES: dict[str, Any] = {
    "hit": RetrievalHitRate,
    "recall": RetrievalRecall,
    "precision": RetrievalPrecision,
    "map": RetrievalMAP,
    "mrr": RetrievalMRR,
    "ndcg": RetrievalNDCG,
}
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def by_definition(name: str, scores: list[float], target: list[int], k: int) -> float | None:
    """The metric of one query, written out; None without a relevant item."""
    ranked = [column for column in range(len(scores)) if scores[column] != -math.inf]
    ranked.sort(key=lambda column: (-scores[column], column))
    gains = [max(0, target[column]) for column in ranked]
    relevant = sum(gain > 0 for gain in gains)
    if relevant == 0:
        return None
    hit_ranks = [rank for rank, gain in enumerate(gains, start=1) if gain > 0 and rank <= k]
    if name == "hit":
        return 1.0 if hit_ranks else 0.0
    if name == "recall":
        return len(hit_ranks) / relevant
    if name == "precision":
        return len(hit_ranks) / k
    if name == "mrr":
        return 1 / hit_ranks[0] if hit_ranks else 0.0
    if name == "map":
        total = sum(found / rank for found, rank in enumerate(hit_ranks, start=1))
        return total / min(k, relevant)
    dcg = sum(gain / math.log2(1 + rank) for rank, gain in enumerate(gains[:k], start=1))
    best = sorted(gains, reverse=True)[:k]
    return dcg / sum(gain / math.log2(1 + rank) for rank, gain in enumerate(best, start=1))


def expected(
    name: str, scores: Tensor, target: Tensor, k: int, *, without_relevant: str = "skip"
) -> float:
    """The mean over queries of `by_definition`."""
    values = [
        by_definition(name, *row, k) for row in zip(scores.tolist(), target.tolist(), strict=True)
    ]
    if without_relevant == "zero":
        return sum(value or 0.0 for value in values) / len(values)
    known = [value for value in values if value is not None]
    return sum(known) / len(known)


def drawn(
    seed: int, queries: int, items: int, *, grades: int = 1, excluded: bool = True
) -> tuple[Tensor, Tensor]:
    """Scores in quarters from -1 to 0.75, so that many are tied, and targets of every kind."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(-4, 4, (queries, items), generator=generator) / 4
    target = torch.randint(0, grades + 1, (queries, items), generator=generator)
    target[torch.rand(queries, items, generator=generator) < 0.4] = 0
    target[torch.rand(queries, items, generator=generator) < 0.2] = -1
    target[queries // 2] = target[queries // 2].clamp(max=0)  # a query without a relevant item
    if excluded:
        scores[torch.rand(queries, items, generator=generator) < 0.1] = -math.inf
    return scores, target


@pytest.mark.parametrize("name", CLASSES)
def test_random_cases_follow_the_definition(name: str) -> None:
    compared = tied = 0
    for seed, items in enumerate((1, 2, 7, 25, 60)):
        for grades in (1, 3):
            scores, target = drawn(seed, 24, items, grades=grades)
            target[0], scores[0] = 1, 0.5  # with one item the others may have nothing to find
            tied += sum(len(row.unique()) < items for row in scores)
            for k in (1, 3, 10, 40):  # up to more than there are items
                for policy in ("skip", "zero"):
                    metric = CLASSES[name](k, without_relevant=policy)
                    for part in range(0, 24, 10):  # 10, 10 and 4 queries
                        metric.update(scores[part : part + 10], target[part : part + 10])
                    value = expected(name, scores, target, k, without_relevant=policy)
                    assert float(metric.compute()) == pytest.approx(value, abs=1e-6)
                    compared += 1
    assert compared == 80
    assert tied > 100


TREC = {
    "hit": "success",
    "recall": "recall",
    "precision": "P",
    "map": "map_cut",
    "ndcg": "ndcg_cut",
}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("k", [1, 5, 10])
def test_pytrec_eval_agrees(name: str, k: int) -> None:
    scores, target = drawn(k, 40, 30, grades=3 if name == "ndcg" else 1)
    # trec_eval breaks ties by the larger document name, so that the smaller column has that.
    columns = [f"{900 - column}" for column in range(30)]
    compared = 0
    for row, judged in zip(scores, target, strict=True):
        kept = [c for c in range(30) if row[c] != -math.inf]
        qrels = {"q": {columns[c]: int(judged[c]) for c in kept if judged[c] >= 0}}
        relevant = sum(grade > 0 for grade in qrels["q"].values())
        metric = CLASSES[name](k)
        metric.update(row[None], judged[None])
        if relevant == 0:
            assert metric.compute().isnan()
            continue
        run = {"q": {columns[c]: float(row[c]) for c in kept}}
        measure = f"{TREC[name]}.{k}" if name in TREC else "recip_rank"
        found = pytrec_eval.RelevanceEvaluator(qrels, {measure}).evaluate(run)["q"]
        (theirs,) = found.values()
        if name == "map":
            theirs *= relevant / min(k, relevant)  # trec_eval divides by R
        if name == "mrr" and theirs < 1 / k - 1e-9:
            theirs = 0.0  # trec_eval has no cut-off
        assert float(metric.compute()) == pytest.approx(theirs, abs=1e-6)
        compared += 1
    assert compared > 30


# 3 relevant items, hits at ranks 1, 4 and 5
TOY = [
    ("precision", 5, 0.6),  # 3 / 5
    ("recall", 5, 1.0),  # 3 / 3
    ("map", 2, 0.5),  # (1 / 1) / min(2, 3)
    ("map", 5, (1 + 2 / 4 + 3 / 5) / 3),
    ("mrr", 5, 1.0),
    ("hit", 5, 1.0),
    ("ndcg", 5, (1 + 1 / math.log2(5) + 1 / math.log2(6)) / (1 + 1 / math.log2(3) + 1 / 2)),
]


@pytest.mark.parametrize(("name", "k", "value"), TOY)
def test_toy_by_hand(name: str, k: int, value: float) -> None:
    # The ranking is columns 5, 3, 1, 0, 2, 4; all scores are negative.
    scores = torch.tensor([[-4.0, -3.0, -5.0, -2.0, -6.0, -1.0]])
    target = torch.tensor([[1, 0, 1, -1, 0, 1]])
    metric = CLASSES[name](k)
    metric.update(scores, target)
    assert float(metric.compute()) == pytest.approx(value)
    ranked = CLASSES[name](k)
    ranked.update_ranked(torch.tensor([[True, False, False, True, True, False]]), torch.tensor([3]))
    assert torch.equal(ranked.compute(), metric.compute())


@pytest.mark.parametrize("name", CLASSES)
def test_ranked_hits_and_scores_mix(name: str) -> None:
    scores, target = drawn(3, 20, 50, excluded=False)
    order = scores.sort(dim=1, descending=True, stable=True).indices
    hits = target.gather(1, order) == 1
    metric = CLASSES[name](10)
    metric.update(scores[:8], target[:8], torch.arange(8))
    for start in (4, 12):  # queries 4 to 7 were seen above
        part = slice(start, start + 8)
        relevant = (target[part] == 1).sum(dim=1)
        metric.update_ranked(hits[part, :15], relevant, torch.arange(start, start + 8))
        value = expected(name, scores[: start + 8], target[: start + 8], 10)
        # compute() keeps its result; a ranked update must drop it
        assert float(metric.compute()) == pytest.approx(value, abs=1e-6)
    assert metric.update_count == 3


@pytest.mark.parametrize("name", CLASSES)
def test_states_are_small_copies_of_what_was_given(name: str) -> None:
    hits = torch.zeros(2, 1000, dtype=torch.bool)
    hits[:, 0] = True
    num_relevant, ids = torch.tensor([1, 1]), torch.tensor([3, 4])
    metric = CLASSES[name](1)
    metric.update_ranked(hits, num_relevant, ids)
    scores, target = torch.tensor([[0.2, 0.1], [0.1, 0.2]]), torch.tensor([[1, 0], [0, 1]])
    metric.update(scores, target, ids)
    states = [part for key in metric.metric_state for part in metric.metric_state[key]]
    assert len(states) == 6  # three states of two batches
    assert max(state.untyped_storage().nbytes() for state in states) == 16  # two int64
    for given in (hits, num_relevant, ids, scores, target):
        given.zero_()  # a caller that reuses its buffers
    assert float(metric.compute()) == 1.0


def test_an_excluded_item_is_neither_ranked_nor_relevant() -> None:
    # Column 0 is the query's own item: relevant, but excluded. Of the others, column 2 is relevant
    # and ranked second. In the second row nothing else is relevant, so that it does not count.
    scores = torch.tensor([[-math.inf, 0.9, 0.8], [-math.inf, 0.9, 0.8]])
    target = torch.tensor([[1, 0, 1], [1, 0, 0]])
    for name, value in {"mrr": 1 / 2, "recall": 1.0, "precision": 1 / 3, "map": 1 / 2}.items():
        metric = CLASSES[name](3)
        metric.update(scores, target)
        assert float(metric.compute()) == pytest.approx(value), name


def test_boolean_targets_and_half_precision_scores() -> None:
    scores = torch.tensor([[0.5, 0.25, 0.75]], dtype=torch.bfloat16)
    metric = RetrievalMRR(3)
    metric.update(scores, torch.tensor([[True, False, False]]))
    assert float(metric.compute()) == 0.5


@pytest.mark.parametrize("name", CLASSES)
def test_a_query_counts_once_and_rows_without_an_id_all_count(name: str) -> None:
    scores, target = drawn(11, 6, 9)
    target[3, 0] = 1  # every query has something to find
    scores[3, 0] = 0.75
    rows = torch.tensor([0, 1, 2, 3, 4, 5, 0, 0, 4])
    ids = torch.tensor([7, -3, 10**12, 10**12 + 1, 0, 5])  # any integers
    metric = CLASSES[name](3)
    for part in rows.split(4):
        metric.update(scores[part], target[part], ids[part])
    assert float(metric.compute()) == pytest.approx(expected(name, scores, target, 3), abs=1e-6)
    metric.update(scores[:2], target[:2])  # these have no ids: two more queries
    more = torch.tensor([0, 1, 2, 3, 4, 5, 0, 1])
    value = expected(name, scores[more], target[more], 3)
    assert float(metric.compute()) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", CLASSES)
def test_an_id_that_does_not_identify_a_query_is_refused(name: str) -> None:
    metric = CLASSES[name](2)
    scores = torch.tensor([[0.3, 0.2, 0.1]])
    metric.update(scores, torch.tensor([[1, 0, 0]]), torch.tensor([4]))
    metric.update(scores, torch.tensor([[1, 0, 1]]), torch.tensor([4]))
    with pytest.raises(DataError, match="query id 4 was given with different relevant items"):
        metric.compute()


def test_no_query_gives_nan() -> None:
    metric = RetrievalRecall(2)
    metric.update(torch.empty(0, 5), torch.empty(0, 5, dtype=torch.long))
    metric.update(torch.empty(1, 0), torch.empty(1, 0, dtype=torch.long))  # an empty catalog
    assert metric.compute().isnan()
    metric.update(torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([[1, 0, 1]]))
    assert float(metric.compute()) == 0.5


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("k", [0, -1, 2.5, True, "10", None])
def test_a_wrong_k_is_refused(name: str, k: Any) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"k={k!r} must be an integer of at least 1")):
        CLASSES[name](k)


@pytest.mark.parametrize("name", CLASSES)
def test_a_wrong_policy_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"without_relevant='drop' must be 'skip' .* or 'zero'"):
        CLASSES[name](without_relevant="drop")


GOOD = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
ONES = torch.ones(2, 2, dtype=torch.long)


@pytest.mark.parametrize(
    ("scores", "target", "ids", "message"),
    [
        (GOOD.index_fill(1, torch.tensor([1]), math.nan), ONES, None, "NaN or +Inf: 2 of 4"),
        (GOOD.index_fill(0, torch.tensor([1]), math.inf), ONES, None, "first in row 1, column 0"),
        (GOOD[0], ONES[0], None, "scores must be (B, N) float, not (2,) float32"),
        (ONES, ONES, None, "scores must be (B, N) float, not (2, 2) int64"),
        (GOOD, ONES[:, :1], None, "target must be (2, 2) integer or bool like scores, not (2, 1)"),
        (GOOD, GOOD, None, "target must be (2, 2) integer or bool like scores, not (2, 2) float"),
        (GOOD, ONES * -2, None, "target contains -2"),
        (GOOD, ONES, torch.arange(3), "query_ids must be (2,) integer, not (3,) int64"),
        (GOOD, ONES, torch.zeros(2), "query_ids must be (2,) integer, not (2,) float32"),
    ],
)
def test_wrong_input_is_refused_and_changes_nothing(
    scores: Tensor, target: Tensor, ids: Tensor | None, message: str
) -> None:
    for name in CLASSES:
        metric = CLASSES[name](1)
        metric.update(GOOD, torch.tensor([[0, 1], [1, 0]]))
        with pytest.raises(DataError, match=re.escape(message)):
            metric.update(scores, target, ids)
        assert float(metric.compute()) == 0.5  # of the first update: one of two at rank 1


@pytest.mark.parametrize(
    ("hits", "relevant", "message"),
    [
        (torch.ones(2, 2, dtype=torch.bool), torch.tensor([2, 2]), "K of at least k = 3"),
        (torch.ones(2, 3), torch.tensor([3, 3]), "(B, K) bool"),
        (torch.ones(2, 3, dtype=torch.bool), torch.tensor([3.0, 3.0]), "num_relevant must be (2,)"),
        (torch.ones(2, 3, dtype=torch.bool), torch.tensor([3]), "num_relevant must be (2,)"),
        (torch.ones(2, 3, dtype=torch.bool), torch.tensor([3, 2]), "row 1 has 3 hits but num_rel"),
    ],
)
def test_wrong_ranked_input_is_refused(hits: Tensor, relevant: Tensor, message: str) -> None:
    for name in CLASSES:
        with pytest.raises(DataError, match=re.escape(message)):
            CLASSES[name](3).update_ranked(hits, relevant)


@pytest.mark.parametrize("name", CLASSES)
def test_forward_gives_the_batch_and_compute_everything(name: str) -> None:
    scores, target = drawn(5, 20, 15)
    metric = CLASSES[name](5)
    for start in (0, 8):  # 8 queries, then 8 of which none was seen
        part = slice(start, start + 8)
        batch = metric(scores[part], target[part], torch.arange(start, start + 8))
        assert float(batch) == pytest.approx(expected(name, scores[part], target[part], 5))
    again = metric(scores[:4], target[:4], torch.arange(4))  # repeated
    assert float(again) == pytest.approx(expected(name, scores[:4], target[:4], 5))
    whole = expected(name, scores[:16], target[:16], 5)
    assert float(metric.compute()) == pytest.approx(whole, abs=1e-6)
    metric.reset()
    metric.update(scores[16:], target[16:])
    value = expected(name, scores[16:], target[16:], 5)
    assert float(metric.compute()) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", CLASSES)
def test_copies_and_saved_states_go_on_alone(name: str, tmp_path: Path) -> None:
    scores, target = drawn(8, 20, 15)
    half, whole = (expected(name, scores[:n], target[:n], 5) for n in (10, 20))
    assert half != pytest.approx(whole, abs=1e-4)

    def filled() -> Any:
        metric = CLASSES[name](5)
        metric.update(scores[:10], target[:10], torch.arange(10))
        return metric

    saved = filled()
    assert not saved.state_dict()
    saved.persistent(True)
    torch.save(saved.state_dict(), tmp_path / "state.pt")
    loaded = CLASSES[name](5)
    loaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    order = scores.sort(dim=1, descending=True, stable=True).indices
    hits = target.gather(1, order) > 0
    hits &= scores.gather(1, order) > -math.inf
    relevant = ((target > 0) & (scores > -math.inf)).sum(dim=1)
    for copied in (loaded, pickle.loads(pickle.dumps(saved)), copy.deepcopy(saved), saved.clone()):
        assert float(copied.compute()) == pytest.approx(half, abs=1e-6)
        copied.update(scores[10:15], target[10:15], torch.arange(10, 15))
        copied.update_ranked(hits[15:], relevant[15:], torch.arange(15, 20))
        assert float(copied.compute()) == pytest.approx(whole, abs=1e-6)
        assert float(saved.compute()) == pytest.approx(half, abs=1e-6)
    assert sum(map(len, saved.query_ids)) == 10  # of the original, whatever its copies saw


@pytest.mark.parametrize("name", CLASSES)
def test_states_move_with_the_metric_and_keep_their_precision(name: str) -> None:
    scores, target = drawn(9, 30, 40)
    metric = CLASSES[name](7)
    module = torch.nn.ModuleList([metric])
    metric.update(scores[:10], target[:10], torch.arange(10) + 10**15)
    module.half()
    metric.update(scores[10:], target[10:], torch.arange(10, 30) + 10**15)
    module.to(torch.bfloat16)
    value = metric.compute()
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(expected(name, scores, target, 7), abs=1e-6)
    module.to("meta")
    states = [part for key in metric.metric_state for part in metric.metric_state[key]]
    assert len(states) == 6  # three states of two batches
    assert {state.device.type for state in states} == {"meta"}


def test_metrics_of_a_collection_share_no_wrong_state() -> None:
    # After the first batch every metric but precision@3 is 1 at every k, so that metrics which
    # kept their values alone would look equal; the second batch tells all of them apart.
    made = {
        f"{name}@{k} {policy}": CLASSES[name](k, without_relevant=policy)
        for name in CLASSES
        for k in (1, 3)
        for policy in ("skip", "zero")
    }
    collection = MetricCollection(made)
    easy = torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([[1, 0], [1, 0]])
    batches = [easy, drawn(1, 30, 12), drawn(2, 30, 12)]
    for scores, target in batches[:2]:
        collection.update(scores, target)
    groups = collection.compute_groups.values()
    assert sorted(map(len, groups)) == [2, 2, 10, 10]  # ndcg by k, and all others by k
    for group in groups:
        assert len({key.split()[0][-1] for key in group}) == 1

    def compare(batches: list[tuple[Tensor, Tensor]]) -> None:
        found = collection.compute()
        assert len(found) == 24
        for key, value in found.items():
            (name, k), policy = key.split()[0].split("@"), key.split()[1]
            rows = [
                (row, judged)
                for batch in batches
                for row, judged in zip(batch[0].tolist(), batch[1].tolist(), strict=True)
            ]
            values = [by_definition(name, *row, int(k)) for row in rows]
            if policy == "zero":
                values = [value or 0.0 for value in values]
            known = [value for value in values if value is not None]
            assert float(value) == pytest.approx(sum(known) / len(known), abs=1e-6), key

    compare(batches[:2])
    collection.update(*batches[2])
    compare(batches)
    order = batches[1][0].sort(dim=1, descending=True, stable=True)
    found = batches[1][1].gather(1, order.indices).masked_fill(order.values == -math.inf, 0) > 0
    for metric in collection.values():
        metric.update_ranked(found, found.sum(dim=1))
    compare([*batches, batches[1]])
    collection.update(*batches[2])
    compare([*batches, batches[1], batches[2]])
    collection.reset()
    collection.update(*batches[2])
    compare(batches[2:])


@pytest.mark.parametrize("module", [metrics, retrieval_metric, ranked_rows])
def test_every_example_runs(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_every_metric_has_an_example() -> None:
    examples = {test.name: len(test.examples) for test in doctest.DocTestFinder().find(metrics)}
    assert len(metrics.__all__) == 6
    for name in metrics.__all__:
        assert examples[f"fashret.evaluation.metrics.{name}"] >= 5, name


@pytest.mark.run
def test_the_metrics_need_nothing_else_of_fashret() -> None:
    code = (
        "import sys, fashret.evaluation.metrics; print(*sorted(name for name in sys.modules if "
        "name.split('.')[0] in ('fashret', 'pytorch_lightning', 'hydra', 'open_clip', 'pandas')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "fashret",
        "fashret.errors",
        "fashret.evaluation",
        "fashret.evaluation.metrics",
        "fashret.evaluation.retrieval_metric",
        "fashret.functional",
        "fashret.functional.retrieval",
        "fashret.version",
    ]


def test_the_documented_lightning_module_logs_each_epoch_afresh() -> None:
    (block,) = re.findall(r"^```\n(import pytorch_lightning.*?)^```", DOCS.read_text(), re.S | re.M)
    names: dict[str, Any] = {}
    exec(block, names)

    class Trained(names["Matching"]):  # type: ignore[misc]
        def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
            loss: Tensor = self.encoder(batch["photo"]).pow(2).sum()
            return loss

        def on_train_epoch_start(self) -> None:
            with torch.no_grad():
                self.encoder.weight.copy_(torch.eye(8) * (1 if self.current_epoch else -1))

        def on_validation_epoch_end(self) -> None:
            seen.append(self.encoder.weight.detach().clone())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    seen: list[Tensor] = []
    logged: list[dict[str, float]] = []

    class Listener(pl.Callback):
        def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            logged.append({key: float(value) for key, value in trainer.callback_metrics.items()})

    generator = torch.Generator().manual_seed(0)
    gallery = torch.randn(50, 8, generator=generator)
    product = torch.arange(50) % 25
    photos = gallery[:22] + 0.8 * torch.randn(22, 8, generator=generator)
    items = [{"photo": photos[i], "product": product[i], "index": i} for i in range(22)]
    loader = torch.utils.data.DataLoader(items, batch_size=5)  # type: ignore[arg-type, var-annotated]
    module = Trained(torch.nn.Linear(8, 8, bias=False), gallery, product)
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=2,
        callbacks=[Listener()],
    )
    trainer.fit(module, loader, loader)
    assert len(seen) == len(logged) == 3  # the sanity check and two epochs
    target = (product[:22, None] == product).long()
    per_epoch = []
    for weight, values in zip(seen[1:], logged[1:], strict=True):
        scores = photos @ weight.T @ gallery.T
        for name, key in {"hit": "HitRate", "map": "MAP", "ndcg": "NDCG"}.items():
            value = expected(name, scores, target, 10)
            assert values[f"val/Retrieval{key}"] == pytest.approx(value, abs=1e-6)
        per_epoch.append(values["val/RetrievalMAP"])
    assert per_epoch[1] > per_epoch[0] + 0.2  # nothing of the first epoch is left in the second


QUERIES, ITEMS = 7, 12
SHARES: dict[str, tuple[list[int], list[int]]] = {
    # what a DistributedSampler gives for 7 queries and 2 processes: one is repeated
    "padded": ([0, 2, 4, 6], [1, 3, 5, 0]),
    "uneven, with repetitions": ([0, 1, 2, 3, 4, 5, 0], [6, 0]),
    "a process without queries": ([0, 1, 2, 3, 4, 5, 6], []),
}


def judged() -> tuple[Tensor, Tensor]:
    """The queries of the processes: 0, which is repeated, is the best by every metric."""
    scores, target = drawn(21, QUERIES, ITEMS, grades=2)
    scores[0], target[0] = torch.arange(ITEMS, 0, -1), 0
    target[0, :3] = 1
    return scores, target


def process(rank: int, folder: str) -> None:
    """What one of two processes does: its share of the queries, into every metric."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    scores, target = judged()
    found: dict[tuple[str, str, str], Any] = {}
    for case, shares in SHARES.items():
        batches = torch.tensor(shares[rank], dtype=torch.long).split(3) if shares[rank] else ()
        for name in CLASSES:
            for policy in ("skip", "zero"):
                metric = CLASSES[name](3, without_relevant=policy)
                for rows in batches:
                    metric.update(scores[rows], target[rows], rows)
                found[case, name, policy] = float(metric.compute())
            # The metric has its own queries again after the sync, and goes on.
            found[case, name, "local"] = sum(map(len, metric.query_ids))
            metric.update(scores[:1], target[:1], torch.tensor([100 + rank]))
            found[case, name, "more"] = float(metric.compute())
            without_ids = CLASSES[name](3)
            for rows in batches:
                without_ids(scores[rows], target[rows])  # forward: no sync, but for compute
            found[case, name, "without ids"] = float(without_ids.compute())
        collection = MetricCollection(
            {f"{name}@{k}": CLASSES[name](k) for name in CLASSES for k in (1, 3)}
        )
        for rows in batches:
            collection.update(scores[rows], target[rows], query_ids=rows)
        for key, value in collection.compute().items():
            found[case, key, "collection"] = float(value)
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, float]]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(process, args=(str(folder),), nprocs=2)  # type: ignore[attr-defined]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.distributed
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("case", SHARES)
def test_two_processes_give_what_one_gives(
    name: str, case: str, two_processes: list[dict[Any, float]]
) -> None:
    scores, target = judged()
    shares = SHARES[case]
    everything = torch.tensor(shares[0] + shares[1])
    for rank, found in enumerate(two_processes):
        for policy in ("skip", "zero"):
            alone = CLASSES[name](3, without_relevant=policy)
            alone.update(scores, target)
            assert found[case, name, policy] == float(alone.compute())
            by_hand = expected(name, scores, target, 3, without_relevant=policy)
            assert found[case, name, policy] == pytest.approx(by_hand, abs=1e-6)
            if len(everything) > QUERIES:  # a repeated query that counted twice would show
                repeated = expected(
                    name, scores[everything], target[everything], 3, without_relevant=policy
                )
                assert repeated > by_hand + 1e-3
        assert found[case, name, "local"] == len(shares[rank])
        more = torch.tensor([*range(QUERIES), 0, 0])  # query 0 under two new ids, one a process
        value = expected(name, scores[more], target[more], 3, without_relevant="zero")
        assert found[case, name, "more"] == pytest.approx(value, abs=1e-6)
        value = expected(name, scores[everything], target[everything], 3)
        assert found[case, name, "without ids"] == pytest.approx(value, abs=1e-6)
        for k in (1, 3):
            value = expected(name, scores, target, k)
            assert found[case, f"{name}@{k}", "collection"] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int64])
def test_a_target_of_any_integers_is_read(dtype: torch.dtype) -> None:
    scores = torch.tensor([[0.9, 0.1, 0.5]])
    precision = CLASSES["precision"]
    assert float(precision(1)(scores, torch.tensor([[1, 0, 0]], dtype=dtype))) == 1.0
    assert float(precision(1)(scores, torch.tensor([[2**31, 0, 1]]))) == 1.0
