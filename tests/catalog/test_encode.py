"""Encoding: every caption once, and finite."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fashret.data.items import ItemTable
from fashret.errors import CatalogError
from fashret.models.backbone import load_backbone
from fashret.models.retriever import Retriever
from support.catalogs import SPEC, build

pytestmark = pytest.mark.run


def test_equal_captions_are_encoded_once(
    table: ItemTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_backbone(SPEC, tmp_path)
    encode, seen = backbone.encode_text, []

    def encode_text(tokens: torch.Tensor) -> torch.Tensor:
        seen.extend(tuple(row) for row in tokens.tolist())
        return encode(tokens)

    monkeypatch.setattr(backbone, "encode_text", encode_text)
    catalog = build(table, tmp_path, load=lambda: Retriever.from_backbone(backbone))
    texts = table.column("text")
    assert len(seen) == len(set(seen)) == len(set(texts)) < len(texts)
    for row in (0, 17, 299):
        alone = encode(backbone.tokenize([texts[row]]))[0]
        assert torch.allclose(catalog.text_features[row], alone, atol=1e-5)


def test_a_lower_precision_is_near_and_has_a_key_of_its_own(
    table: ItemTable, tmp_path: Path
) -> None:
    lower = replace(SPEC, precision="bfloat16")
    exact = build(table, tmp_path)
    near = build(
        table,
        tmp_path,
        identity=lower.identity(tmp_path),
        load=lambda: Retriever.from_backbone(load_backbone(lower, tmp_path)),
    )
    assert near.folder != exact.folder
    for kind in ("image", "text"):
        like = (getattr(near, kind) * getattr(exact, kind)).sum(dim=1)
        assert 0.99 < like.min() < like.max()
        assert not torch.equal(getattr(near, kind), getattr(exact, kind))


@pytest.mark.parametrize(
    ("tower", "dtype", "made", "named"),
    [
        ("image", "float32", float("nan"), r"5 of a batch of 150 photos, (\S+, ){4}\S+; check"),
        ("text", "float32", float("inf"), r"5 of a batch of \d+ captions, '.+'; check the weights"),
        ("image", "float16", 70_000.0, r"5 of a batch of 150 photos, .* catalog.dtype=float32"),
    ],
)
def test_features_that_are_not_finite_are_refused_with_their_items(
    table: ItemTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tower: str, dtype: str,
    made: float, named: str,
) -> None:  # fmt: skip
    backbone = load_backbone(SPEC, tmp_path)
    encode = getattr(backbone, f"encode_{tower}")

    def broken(inputs: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = encode(inputs)
        features[2:7, 3] = made  # the largest number of half precision is 65,504
        return features

    monkeypatch.setattr(backbone, f"encode_{tower}", broken)
    with pytest.raises(CatalogError, match=rf"features contain NaN or Inf: {named}") as raised:
        build(table, tmp_path, load=lambda: Retriever.from_backbone(backbone), dtype=dtype)
    assert not list((tmp_path / "catalogs").glob("*/manifest.json"))
    if tower == "image":
        items = table.column("item_id")
        assert ", ".join(items[row] for row in table.rows("train")[2:7]) in str(raised.value)


def test_embeddings_of_broken_heads_are_refused_with_their_items(
    table: ItemTable, tmp_path: Path
) -> None:
    base = build(table, tmp_path)

    def load() -> Retriever:
        retriever = Retriever(*base.heads)
        with torch.no_grad():
            retriever.image_head.weight[0, 0] = float("nan")
        return retriever

    first = table.column("item_id")[0]
    message = rf"image embeddings contain NaN or Inf: 300 of 300 items, {first} \(row 0\), .*\.\.\."
    features = {"image": base.image_features, "text": base.text_features}
    with pytest.raises(CatalogError, match=message):
        build(table, tmp_path, load=load, features=features, identity={"learned": "nan"})
