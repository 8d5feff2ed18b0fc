"""Official protocols, each on data whose numbers were worked out by hand, and by its command.

Embeddings are points on a circle: what is nearer by angle is found first.
"""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Run, composed
from test_official_sets import fashioniq, listed, photo, saved, write
from torch import Tensor

from fashret.config import build
from fashret.errors import ConfigError, FashretError
from fashret.evaluation.benchmarks import (
    AttributeSpecific,
    FashionIQ,
    Keyword,
    LookBench,
    Marqo,
    Paired,
    QueryToGallery,
)
from fashret.evaluation.benchmarks.base import OfficialProtocol, Stage, not_itself
from fashret.functional.full_ranking import whole_rankings
from fashret.functional.relevance import Equal, Fitting, Listed, Relevance
from fashret.tasks.base import Outcome, Task
from fashret.types import UNKNOWN


def at(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1).float()


def codes(values: list[str | None]) -> tuple[Tensor, list[str]]:
    known = sorted({value for value in values if value is not None})
    return torch.tensor([UNKNOWN if v is None else known.index(v) for v in values]), known


def stage(
    images: Tensor,
    texts: Tensor | None = None,
    *,
    typed: dict[str, float] | None = None,
    **columns: list[str | None],
) -> Stage:
    """Items with some columns: product, caption, category, role, and attributes."""
    count = len(images)
    ids = columns.pop("item_id", [f"i{i}" for i in range(count)])
    roles = columns.pop("role", None)
    product = codes(columns.pop("product", [None] * count))[0]
    caption = codes(columns.pop("caption", [f"c{i}" for i in range(count)]))[0]
    category = columns.pop("category", [None] * count)
    described = {"category": codes(category)} | {n: codes(v) for n, v in columns.items()}
    table = SimpleNamespace(
        column=lambda name: ids if name == "item_id" else roles,
        dataset=SimpleNamespace(column_names=["role"] if roles else []),
        attributes=tuple(columns),
        described=("category", *columns),
    )
    return Stage(
        table=table,  # type: ignore[arg-type]  # as much of a table as is read
        codes=SimpleNamespace(product=product, caption=caption, described=described),  # type: ignore[arg-type]
        rows=np.arange(count),
        image=images,
        text=at(*[0.0] * count) if texts is None else texts,
        embed_texts=lambda asked: at(*(typed[text] for text in asked)) if typed else at(),
        weighted=lambda queries: queries,
    )


def judged(protocol: OfficialProtocol, on: Stage) -> dict[str, dict[str, float]]:
    return {task.name: Outcome.of(task).means() for task in protocol.tasks(on)}


def test_query_to_gallery_by_hand() -> None:
    on = stage(
        at(0, 50, 90, 5, 20, 55, 85, 180),
        role=["query", "query", "query", "gallery", "gallery", "gallery", "gallery", "gallery"],
        product=["a", "b", "c", "b", "a", "c", "d", "b"],
    )
    # 0 finds 5, 20 (its own, rank 2); 50 finds 55, 20, 85, 5 (rank 4); 90 finds 85, 55 (rank 2)
    found = judged(QueryToGallery(split="test", k=[1, 2, 4], label="inshop"), on)
    assert found == {"query-to-gallery": {"hit@1": 0.0, "hit@2": 2 / 3, "hit@4": 1.0}}


def test_a_set_without_roles_is_told_so() -> None:
    with pytest.raises(ConfigError, match="no item of the role query"):
        judged(QueryToGallery(split="test", k=[1], label="inshop"), stage(at(0, 1)))


def test_attribute_specific_by_hand() -> None:
    on = stage(at(0, 10, 30, 60, 200), colour=["red", "blue", "red", "red", None])
    # red 0:  blue red red -> (1/2 + 2/3) / 2      blue 10: nothing to find, not counted
    # red 30: blue, 0 and 60 at a tie: the smaller row -> (1/2 + 2/3) / 2
    # red 60: red blue red -> (1 + 2/3) / 2
    tied = (1 / 2 + 2 / 3) / 2
    expected = (tied + tied + (1 + 2 / 3) / 2) / 3
    found = judged(AttributeSpecific(split=None), on)
    assert found["colour"]["map"] == pytest.approx(expected, abs=1e-12)
    task = next(AttributeSpecific(split=None).tasks(on))
    assert len(task.documents) == 4  # what does not carry the attribute is no candidate
    outcome = Outcome.of(task)
    assert outcome.results(resamples=10, seed=0)["map"]["n"] == 3


def test_attribute_specific_names_an_attribute_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"holds sleeve; the data has colour"):
        judged(AttributeSpecific(split=None, attributes=["sleeve"]), stage(at(0), colour=["red"]))


def test_paired_by_hand() -> None:
    on = stage(at(0, 40, 90), at(30, 10, 85), caption=["x", "x", None])
    # text 30 finds 40, 0: rank 2; text 10 finds 0, 40: rank 2; the third has no text
    found = judged(Paired(split=None, k=[1, 2]), on)
    assert found["text-to-image"] == {"hit@1": 0.0, "hit@2": 1.0}
    assert found["image-to-text"] == {"hit@1": 0.0, "hit@2": 1.0}
    other = judged(Paired(split=None, k=[1]), stage(at(0, 40), at(3, 50)))
    assert other["text-to-image"] == other["image-to-text"] == {"hit@1": 1.0}


def test_lookbench_by_hand() -> None:
    on = stage(
        at(0, 90, 10, 20, 80, 100),
        role=["query", "query", *["gallery"] * 4],
        category=["dress", "coat", "dress", "dress", "coat", "bag"],
        colour=["red", "blue", "blue", "red", "red", None],
    )
    # query 0: fine at rank 2, coarse at 1. query 1: no fine answer (0), coarse: 80 and 100 tie,
    # the smaller row, a coat, first
    found = judged(LookBench(split="test"), on)
    assert found["fine"]["hit@1"] == 0.0
    assert found["fine"]["hit@5"] == 0.5
    assert found["fine"]["ndcg@5"] == pytest.approx(0.5 / math.log2(3), abs=1e-12)
    assert found["fine"]["mrr@10"] == 0.25
    assert found["coarse"]["hit@1"] == 1.0


def test_marqo_by_hand(tmp_path: Path) -> None:
    write(tmp_path / "ground_truth_text-image.json",
          json.dumps({"one": {"1": 1}, "two": {"2": 1, "3": 1, "gone": 1}}))  # fmt: skip
    write(
        tmp_path / "ground_truth_category2-image+text.json", json.dumps({"tees": {"1": 1, "3": 1}})
    )
    typed = {"one": 12.0, "two": 88.0, "tees": 30.0}
    texts = at(180, 0, 0)
    on = stage(at(0, 40, 90), texts, typed=typed, item_id=["1", "2", "3"])
    protocol = Marqo(split=None, ground_truth=str(tmp_path), weight_image=0.9, prompt="")
    tasks = list(protocol.tasks(on))
    assert [task.name for task in tasks] == ["text-to-image", "category2-to-product"]
    assert tasks[0].notes == ["1 right answers of ground_truth_text-image.json are not in the data"]
    first = Outcome.of(tasks[0]).means()
    # "one" finds 1; "two" finds 3, 2: both of the two that are there
    assert first["recall@1"] == (1 + 1 / 2) / 2
    assert first["recall@10"] == 1.0
    assert first["precision@10"] == (1 / 10 + 2 / 10) / 2
    assert first["mrr@10"] == 1.0
    # documents: 0.9 image + 0.1 text, of length 1: 1 stays at 0 degrees, 3 is drawn to 83.7
    documents = tasks[1].documents[:]
    assert documents.norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-6)
    third = math.degrees(math.atan2(0.9, 0.1))
    assert math.degrees(math.atan2(*documents[2].flip(0).tolist())) == pytest.approx(
        third, abs=1e-4
    )
    second = Outcome.of(tasks[1]).means()
    # "tees" at 30 finds 2 (36.0 degrees), 1, 3
    assert (second["precision@1"], second["mrr@10"]) == (0.0, 0.5)
    assert protocol.averages["AvgRecall"] == ("recall@1", "recall@10")


def test_marqo_files_that_are_not_there_or_of_another_form(tmp_path: Path) -> None:
    protocol = Marqo(split=None, ground_truth=str(tmp_path), weight_image=0.9, prompt="")
    with pytest.raises(ConfigError, match="holds no ground_truth_"):
        judged(protocol, stage(at(0)))
    write(tmp_path / "ground_truth_text-image.json", "[1]")
    with pytest.raises(FashretError, match=r"is not \{query"):
        judged(protocol, stage(at(0)))
    write(tmp_path / "ground_truth_text-image.json", "{}")
    with pytest.raises(FashretError, match=r"text-image.json holds no query"):
        judged(protocol, stage(at(0)))


def test_fashioniq_by_hand(tmp_path: Path) -> None:
    fashioniq(tmp_path)
    names = ["dress/C", "dress/D", "dress/E", "shirt/C", "shirt/G"]
    typed = {
        "is blue and is shorter": 60.0, "is red and is long": 50.0,
        "has stripes and is a shirt": 100.0,
    }  # fmt: skip
    on = stage(at(0, 40, 33, 0, 90), typed=typed, item_id=names)
    given = {"split": "validation", "root": str(tmp_path), "weight_image": 0.5, "k": [1, 2]}
    found = judged(FashionIQ(exclude_reference=False, **given), on)
    # C + "blue" is at 30 degrees and wants D (40): E (33) comes first where it is in the gallery.
    # D + "red" is at 45 and wants C (0): D, E, C, or D, C where only named photos are searched.
    # F is torn, so D -> F is no query. Shirts: C + text at 50 wants G (90), 40 against 50 away.
    assert found["dress (split gallery)"] == {"hit@1": 0.0, "hit@2": 0.5}
    assert found["dress (named gallery)"] == {"hit@1": 0.5, "hit@2": 1.0}
    assert found["shirt (split gallery)"] == {"hit@1": 1.0, "hit@2": 1.0}
    apart = judged(FashionIQ(exclude_reference=True, **given), on)
    assert apart["dress (named gallery)"] == {"hit@1": 1.0, "hit@2": 1.0}
    tasks = list(FashionIQ(exclude_reference=False, **given).tasks(on))
    assert tasks[0].notes == ["dress: 1 queries without their photos or target"]
    outcomes = [Outcome.of(task) for task in tasks]
    mean = FashionIQ(exclude_reference=False, **given).summary(outcomes)
    assert mean["mean over kinds (split gallery)"] == {"hit@1": 0.5, "hit@2": 0.75}


def test_fashioniq_without_targets_is_told_so(tmp_path: Path) -> None:
    fashioniq(tmp_path)
    protocol = FashionIQ(
        split="test", root=str(tmp_path), weight_image=0.5, exclude_reference=False, k=[1]
    )
    with pytest.raises(ConfigError, match=r"split=test: no caption in .* has a target"):
        judged(protocol, stage(at(0)))


def test_fashioniq_without_its_photos_is_told_so(tmp_path: Path) -> None:
    fashioniq(tmp_path)
    protocol = FashionIQ(
        split="validation", root=str(tmp_path), weight_image=0.5, exclude_reference=False, k=[1]
    )
    with pytest.raises(ConfigError, match="of no query are both photos in the data"):
        judged(protocol, stage(at(0), item_id=["dress/Z"]))


def keyword(**options: Any) -> Keyword:
    given = {
        "split": None, "templates": ["{colour} {category}"], "schema": None, "max_queries": 100,
        "seed": 0, "k": [1, 2],
    }  # fmt: skip
    return Keyword(**given | options)


def test_keyword_gains_by_hand() -> None:
    on = stage(
        at(0, 10, 20, 30),
        typed={"red tees": 8.0, "blue tees": 24.0, "blue coats": 28.0},
        category=["tees", "tees", "tees", "coats"],
        colour=["red", "blue", None, "blue"],
    )
    task = next(keyword().tasks(on))
    assert sorted(task.query_names) == ["blue coats", "blue tees", "red tees"]
    outcome = Outcome.of(task)
    place = {name: i for i, name in enumerate(task.query_names)}
    # red tees (8): 10 is a tee of another colour (1/2), 0 is right (1): ideal 1, 1/2
    gains = outcome.gains[place["red tees"]].tolist()
    assert gains == [0.5, 1.0]
    ndcg = outcome.columns["ndcg@2"][place["red tees"]]
    ideal = 1 + 0.5 / math.log2(3)
    assert float(ndcg) == pytest.approx((0.5 + 1 / math.log2(3)) / ideal, abs=1e-12)
    # blue tees (24): 20, whose colour is unknown, is half right; 30, a coat, is wrong
    assert outcome.gains[place["blue tees"]].tolist() == [0.5, 0.0]
    assert outcome.gains[place["blue coats"]].tolist() == [1.0, 0.0]
    assert outcome.columns["hit@1"].sort().values.tolist() == [0.0, 0.0, 1.0]
    assert outcome.relevant.tolist() == [1, 1, 1]


def test_keyword_says_values_as_people_type_them() -> None:
    cfg = composed("evaluate", ["protocol=keyword"])
    asked = build(cfg.protocol)
    words = [
        asked._words(name, value)
        for name, value in [
            ("neckline", "v_neck"), ("neckline", "square"), ("sleeve", "short"),
            ("colour", "red"), ("category", "Blouses_Shirts"), ("colour", "Fluorescent Green"),
        ]
    ]  # fmt: skip
    assert words == [
        "v neck", "square neckline", "short sleeve", "red", "blouses shirts", "fluorescent green",
    ]  # fmt: skip


def test_keyword_templates_that_cannot_be_asked() -> None:
    on = stage(at(0), category=["tees"])
    with pytest.raises(ConfigError, match=r"has no \{category\}"):
        judged(keyword(templates=["{colour}"]), on)
    with pytest.raises(ConfigError, match="no template can be filled; the data has category"):
        judged(keyword(), on)


@pytest.mark.parametrize("seed", range(3))
def test_ways_to_say_what_is_right_agree(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    of_query = torch.randint(-1, 4, (12,), generator=generator)
    of_document = torch.randint(-1, 4, (30,), generator=generator)
    right = (of_query[:, None] == of_document) & (of_query[:, None] != UNKNOWN)
    query, document = right.nonzero(as_tuple=True)
    shuffled = torch.randperm(len(query), generator=generator)
    by: list[Relevance] = [
        Equal(of_query, of_document),
        Listed(query[shuffled], document[shuffled], torch.ones(len(query)).double(), 12, 30),
        Fitting(of_query[:, None], of_document[:, None]),
    ]
    rows = torch.randint(0, 30, (12, 7), generator=generator)
    for relevance in by:
        assert torch.equal(
            relevance.gains(torch.arange(12), rows).nan_to_num() > 0, right.gather(1, rows)
        )
        counts, ideal = relevance.ideal(5)
        assert torch.equal(counts, right.sum(dim=1))
        assert torch.equal(ideal.sum(dim=1).long(), right.sum(dim=1).clamp(max=5))


def test_whole_rankings_leave_out_what_is_excluded() -> None:
    images = at(0, 10, 30, 60)
    right = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0]]).bool()
    places = torch.arange(4)
    found = whole_rankings(images[:2], images, lambda q: right[q], not_itself(places[:2], places))
    assert found["map"][0] == pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-12)
    assert found["rprecision"][0] == 0.5
    assert found["map"].isnan().tolist() == [False, True]


# The command, on generated sets


def table_of(folder: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return held


def inshop(root: Path) -> None:
    lines = []
    for product in range(8):
        status = "train" if product < 4 else ""
        for view in range(4):
            name = f"img/WOMEN/Dresses/id_{product:08d}/01_{view}_front.jpg"
            photo(root / name, 10 * product + view)
            lines.append(f"{name} id_{product:08d} {status or ('query', 'gallery')[view % 2]}")
    listed(root / "Eval" / "list_eval_partition.txt", "image_name item_id status", *lines)


SIZE = ["model.name=fashret-tiny", "data.num_workers=0", "retrieval.resamples=50"]


def test_inshop_by_its_command(run: Run, tmp_path: Path, capsys: Any) -> None:
    inshop(tmp_path / "set")
    out = run("evaluate", "protocol=inshop", "data=deepfashion_inshop", *SIZE,
              f"data.root={tmp_path / 'set'}", small=False)  # fmt: skip
    held = table_of(out)
    assert held["protocol"]["name"] == "inshop"
    assert held["protocol"]["tasks"]["query-to-gallery"] == {
        "queries": 8, "gallery": 8, "excluded": 0, "without_relevant_item": 0,
    }  # fmt: skip
    assert {"encoder", "preprocess", "split", "k"} <= set(held["protocol"])
    assert held["metrics"]["test/inshop/query-to-gallery/hit@10"]["value"] == 1.0  # all 8 are seen
    assert any("expected 52,712" in n or "expected 14,218" in n for n in held["notes"])
    # By hand from the catalog: the nearest gallery photo of each query
    catalog = Path(held["catalog"])
    meta = pd.read_parquet(catalog / "catalog_meta.parquet")
    image = np.load(catalog / "catalog_img.npy").astype(np.float64)
    queries, gallery = (np.flatnonzero(meta["role"] == role) for role in ("query", "gallery"))
    nearest = gallery[(image[queries] @ image[gallery].T).argmax(axis=1)]
    ids = meta["product_id"].to_numpy()
    expected = (ids[nearest] == ids[queries]).mean()
    assert held["metrics"]["test/inshop/query-to-gallery/hit@1"]["value"] == expected
    found = pd.read_parquet(out / "per_query_results.parquet")
    assert len(found) == 8
    assert "note: 16 train photos, expected 25,882" in capsys.readouterr().out
    assert "query-to-gallery" in (out / "protocol.md").read_text()


def test_consumer2shop_by_its_command(run: Run, tmp_path: Path) -> None:
    root, pairs = tmp_path / "set", []
    for product in range(6):
        names = [f"img/D/T/id_{product}/{kind}.jpg" for kind in ("comsumer_01", "shop_01")]
        for i, name in enumerate(names):
            photo(root / name, 2 * product + i)
        status = ("train", "val", "test")[product // 2]
        pairs.append(f"{names[0]} {names[1]} id_{product} {status}")
    listed(root / "Eval" / "list_eval_partition.txt", "a b c d", *pairs)
    out = run("evaluate", "protocol=consumer2shop", "data=deepfashion_consumer2shop", *SIZE,
              f"data.root={root}", small=False)  # fmt: skip
    metrics = table_of(out)["metrics"]
    assert metrics["test/consumer2shop/query-to-gallery/hit@5"]["value"] == 1.0
    assert metrics["test/consumer2shop/query-to-gallery/hit@1"]["chance"] == 0.5


def test_lookbench_by_its_command(run: Run, tmp_path: Path) -> None:
    saved(tmp_path / "hub", query={"category": ["dress", "coat"]},
          gallery={"category": ["dress", "dress"]})  # fmt: skip
    out = run("evaluate", "protocol=lookbench", "data=lookbench", *SIZE,
              f"data.name={tmp_path / 'hub'}", small=False)  # fmt: skip
    metrics = table_of(out)["metrics"]
    assert metrics["test/lookbench/coarse/hit@1"]["value"] == 0.5  # no coat in the gallery: 0


def test_marqo_by_its_command(run: Run, tmp_path: Path) -> None:
    saved(tmp_path / "hub", data={
        "item_ID": [f"{i}" for i in range(10)], "category2": ["Tees"] * 5 + ["Coats"] * 5,
        "text": [f"garment {i}" for i in range(10)],
    })  # fmt: skip
    truth = tmp_path / "truth"
    write(truth / "ground_truth_text-image.json",
          json.dumps({f"garment {i}": {f"{i}": 1} for i in range(10)}))  # fmt: skip
    write(truth / "ground_truth_category2-image+text.json",
          json.dumps({"Tees": {f"{i}": 1 for i in range(5)}}))  # fmt: skip
    out = run("evaluate", "protocol=marqo", "data=marqo", *SIZE, f"data.name={tmp_path / 'hub'}",
              f"protocol.ground_truth={truth}", small=False)  # fmt: skip
    metrics = table_of(out)["metrics"]
    assert metrics["all/marqo/text-to-image/recall@10"]["value"] == 1.0
    assert metrics["all/marqo/category2-to-product/precision@10"]["value"] == 0.5
    assert "AvgRecall" in (out / "protocol.md").read_text()


def test_fashioniq_by_its_command(run: Run, tmp_path: Path) -> None:
    fashioniq(tmp_path / "set")
    out = run("evaluate", "protocol=fashioniq", "data=fashioniq", *SIZE,
              f"data.root={tmp_path / 'set'}", small=False)  # fmt: skip
    metrics = table_of(out)["metrics"]
    assert metrics["val/fashioniq/dress (split gallery)/hit@10"]["value"] == 1.0
    assert metrics["val/fashioniq/dress (split gallery)/hit@10"]["n"] == 2


@pytest.mark.parametrize("name", ["paired", "attribute_specific", "keyword"])
def test_protocols_of_any_set_by_their_commands(name: str, run: Run) -> None:
    out = run("evaluate", f"protocol={name}")
    held = table_of(out)
    assert held["protocol"]["name"] == name
    for result in held["metrics"].values():
        assert result["low"] <= result["value"] <= result["high"]
        assert result["n"] > 0


def test_a_run_is_compared_with_its_model_untrained(run: Run) -> None:
    trained = run("train", "trainer.max_epochs=1", folder="trained")
    out = run("evaluate", "protocol=paired", f"run={trained}", folder="judged")
    assert "## Against the baseline" in (out / "protocol.md").read_text()


def test_a_wrong_option_of_a_protocol_is_named(run: Run) -> None:
    with pytest.raises(FashretError, match="protocol"):
        run("evaluate", "protocol=paired", "+protocol.ks=[1]")
    with pytest.raises(FashretError, match="ground_truth"):
        run("evaluate", "protocol=marqo")
    with pytest.raises(FashretError, match="quick=True is not of protocol="):
        run("evaluate", "protocol=paired", "quick=true")


def test_an_outcome_of_equal_systems_differs_by_nothing() -> None:
    task = Task("t", at(0, 10), at(0, 20), ["a", "b"], ["c", "d"],
                Equal(torch.tensor([0, 1]), torch.tensor([0, 1])), ["hit@1"])  # fmt: skip
    outcome = Outcome.of(task)
    assert outcome.against(outcome, resamples=20, seed=0)["hit@1"][:2] == (0.0, 0.0)
