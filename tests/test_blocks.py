"""Blocks of attributes: beside the embedding, weighted by the query, one catalog for all."""

import json
import math

import pytest
import torch
from conftest import Run
from torch import Tensor
from torch.nn.functional import normalize

from fashret.catalog.store import open_catalog
from fashret.errors import ConfigError
from fashret.functional.blocks import GENERAL, Layout
from fashret.losses import AttributeBlocks
from fashret.models.heads import Projection, narrowed
from fashret.models.retriever import Retriever
from fashret.types import Batch, TrainingItems

LAYOUT = Layout.of({GENERAL: 5, "neckline": 3, "material": 2})


def embeddings(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    parts = [
        normalize(torch.randn(rows, end - start, generator=generator), dim=1)
        for start, end in LAYOUT.columns.values()
    ]
    return torch.cat(parts, dim=1) / math.sqrt(3)


def test_a_weighted_query_has_the_mean_cosine_of_the_blocks() -> None:
    queries, catalog = embeddings(4, 0), embeddings(6, 1)
    assert torch.allclose(queries.norm(dim=1), torch.ones(4))
    weights = {"neckline": 0.5, "material": 2.0, "sleeve": 9.0}
    found = LAYOUT.weighted(queries, weights) @ catalog.T
    for i in range(4):
        for j in range(6):
            cosines = {
                name: float(normalize(queries[i, a:b], dim=0) @ normalize(catalog[j, a:b], dim=0))
                for name, (a, b) in LAYOUT.columns.items()
            }
            expected = cosines[GENERAL] + 0.5 * cosines["neckline"] + 2.0 * cosines["material"]
            assert float(found[i, j]) == pytest.approx(expected / 3.5, abs=1e-6)
    plain = LAYOUT.weighted(queries, {}) @ catalog.T
    general = LAYOUT.block(queries) @ LAYOUT.block(catalog).T
    assert torch.allclose(plain, general, atol=1e-6)


def test_blocks_stand_beside_an_embedding_that_stays_as_it_was() -> None:
    torch.manual_seed(0)
    image, text = Projection(torch.randn(6, 9), torch.randn(6)), Projection(torch.randn(6, 7), None)
    block = narrowed(image, 4, 0), narrowed(text, 4, 0)
    plain, blocked = Retriever(image, text), Retriever(image, text, {"neckline": block})
    features, said = torch.randn(5, 9), torch.randn(5, 7)
    has_text = torch.tensor([True, True, False, True, True])
    layout = blocked.layout
    assert blocked.dim == 10
    photos, texts = blocked.embed_image(features), blocked.embed_text(said, has_text)
    assert torch.allclose(layout.block(photos), plain.embed_image(features), atol=1e-6)
    assert torch.allclose(layout.block(texts), plain.embed_text(said, has_text), atol=1e-6)
    basis = torch.linalg.lstsq(image.weight.T, block[0].weight.T).solution.T  # block = basis image
    assert torch.allclose(basis @ basis.T, torch.eye(4), atol=1e-4)
    own = normalize(plain.image_head(features) @ basis.T, dim=1)
    assert torch.allclose(layout.block(photos, "neckline"), own, atol=1e-4)
    assert torch.allclose(photos.norm(dim=1), torch.ones(5))
    assert float(texts[2].abs().sum()) == 0.0


def test_the_loss_of_blocks_equals_a_loop() -> None:
    codes = torch.tensor([0, 0, 1, -1, 1, 0])
    nothing = torch.full((6,), -1)
    term = AttributeBlocks(weight=0.5, temperature=0.2)
    described = {"neckline": (codes, ["round", "v_neck"]), "material": (nothing, [])}
    items = TrainingItems(torch.arange(6), nothing, nothing, described, list("abcdef"))
    term.prepare(items, None)  # type: ignore[arg-type]  # it needs no catalog
    images, texts = embeddings(6, 0).requires_grad_(), embeddings(6, 1)
    caption = torch.tensor([0, 1, 2, 3, 4, -1])
    value = term(images, texts, Batch(index=torch.arange(6), caption=caption), LAYOUT)

    def direction(similarity: Tensor, allowed: Tensor) -> float:
        s, losses = similarity.tolist(), []
        for i in range(6):
            known = [j for j in range(6) if allowed[i, j] and codes[i] >= 0 and codes[j] >= 0]
            right = [j for j in known if codes[i] == codes[j]]
            if right and len(right) < len(known):
                whole = math.log(sum(math.exp(s[i][j] / 0.2) for j in known))
                losses.append(whole - sum(s[i][j] / 0.2 for j in right) / len(right))
        return sum(losses) / len(losses)

    photos, said = LAYOUT.block(images, "neckline"), LAYOUT.block(texts, "neckline")
    other = ~torch.eye(6, dtype=torch.bool)
    told = (caption >= 0)[None].expand(6, 6)
    against = [(photos @ photos.T, other), (photos @ said.T, told)]
    expected = sum(direction(s, m) + direction(s.T, m.T) for s, m in against) / 4
    assert float(value.detach()) == pytest.approx(0.5 * expected, rel=1e-5)
    value.backward()
    assert images.grad is not None
    moved = images.grad.abs() > 0
    assert moved[:, 5:8].any(dim=1).tolist() == [True, True, True, False, True, True]
    assert not moved[:, :5].any()
    assert not moved[:, 8:].any()


BLOCKS = ("model.attribute_blocks={neckline: 8, material: 4}", "trainer.max_epochs=2")


def test_one_catalog_serves_every_weighting(run: Run) -> None:
    train = run("train", *BLOCKS, folder="train")
    curves = json.loads((train / "steering.json").read_text())
    assert [curve["attribute"] for curve in curves] == ["neckline", "material"]
    metrics = json.loads((train / "metrics.json").read_text())["metrics"]
    for curve in curves:
        assert curve["points"][0]["value"] == metrics[curve["key"]]["value"]
        assert curve["points"][0]["cost"] == 0.0
        assert all(point["cost"] >= 0.0 for point in curve["points"])
        assert curve["points"][-1]["value"] != curve["points"][0]["value"]
    given = [f"run={train}", "retrieval.weights={neckline: 1.0}", "split=validation"]
    weighted = run("evaluate", *given, folder="weighted")
    found = json.loads((weighted / "metrics.json").read_text())["metrics"]
    at_one = next(p for p in curves[0]["points"] if p["weight"] == 1.0)
    assert found["val/image/neckline/precision@10"]["value"] == at_one["value"]
    shown = run("evaluate", f"run={train}", folder="shown")  # judges test, and chooses weights on
    again = json.loads((shown / "steering.json").read_text())  # validation, as the run did
    assert again == curves
    folder = run.at("catalog")
    run("build_catalog", f"run={train}", f"catalog.dir={folder}", folder="build")
    catalog = open_catalog(folder)
    base = catalog.manifest["blocks"]["general"][1]
    assert catalog.manifest["blocks"] == {
        "general": [0, base], "neckline": [base, base + 8], "material": [base + 8, base + 12],
    }  # fmt: skip
    assert catalog.image.shape[1] == base + 12
    given = [f"run={folder}", "retrieval.weights={neckline: 1.0}", "split=validation"]
    stored = run("evaluate", *given, folder="stored")
    found = json.loads((stored / "metrics.json").read_text())["metrics"]
    assert found["val/image/neckline/precision@10"]["value"] == pytest.approx(
        at_one["value"], abs=1e-3
    )
    assert torch.allclose(catalog.image.norm(dim=1), torch.ones(len(catalog)), atol=1e-4)
    assert dict(Retriever(*catalog.heads).layout.columns) == dict(catalog.layout.columns)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.attribute_blocks={necklin: 8}"], "model.attribute_blocks names necklin"),
        (["model.attribute_blocks={neckline: 999}"], "must be at most 256"),
        (["retrieval.weights={neckline: 1}"], "retrieval.weights names neckline"),
    ],
)
def test_a_block_that_cannot_be_is_answered(run: Run, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run("train", *overrides)
