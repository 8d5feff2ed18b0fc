"""Embedding of stored features: each row by its own, texts only where there is one."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from fashret.data.codes import ItemCodes
from fashret.evaluation.embed import embed_judged, embed_stored
from fashret.evaluation.judged import JudgedSearch
from fashret.evaluation.ranking import SplitEmbeddings
from fashret.models.composer import WeightedSum
from fashret.models.heads import Projection
from fashret.models.retriever import Retriever
from fashret.types import JudgedQueries
from support.plans import plan_of


def retriever() -> Retriever:
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(4, 3, generator=generator), torch.randn(4, 5, generator=generator)
    return Retriever(Projection(image, None), Projection(text, None)).eval()


def test_rows_are_embedded_from_their_own_features() -> None:
    generator = torch.Generator().manual_seed(1)
    images, texts = torch.randn(9, 3, generator=generator), torch.randn(9, 5, generator=generator)
    caption = torch.tensor([0, -1, 2, 3, 4, -1, 6, 7, 8])
    codes: Any = object.__new__(ItemCodes)
    codes.product, codes.caption, codes.role = torch.arange(9), caption, None
    splits = np.array([0, 0, 1, 1, 0, 0, 1, 0, 1])
    table: Any = SimpleNamespace(splits=(0, 1), rows=lambda split: np.flatnonzero(splits == split))
    catalog: Any = SimpleNamespace(image_features=images, text_features=texts)
    rows = np.array([1, 2, 4, 7, 8])
    model = retriever()
    found = embed_stored(model, catalog, table, codes, rows)
    with torch.no_grad():
        expected = normalize(images[rows] @ model.image_head.weight.T, dim=1)
        said = normalize(texts[rows] @ model.text_head.weight.T, dim=1)
    said[0] = 0.0  # row 1 has no text
    assert torch.allclose(found.image, expected, atol=1e-6)
    assert torch.allclose(found.text, said, atol=1e-6)


def test_composed_queries_are_made_of_their_reference_and_their_text() -> None:
    model = retriever()
    model.composer = WeightedSum()
    model.composer.weights.data = torch.tensor([2.0, 1.0])
    image = normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(2)), dim=1)
    queries = JudgedQueries(
        ["x", "y"], ["test"] * 2, torch.tensor([0, 1]), torch.tensor([1, 2]), torch.ones(2),
        torch.ones(2), torch.arange(2), torch.tensor([3, 0]),
    )  # fmt: skip
    typed = JudgedQueries(
        ["x"], ["test"], torch.tensor([0]), torch.tensor([1]), torch.ones(1), torch.ones(1),
        torch.arange(1),
    )  # fmt: skip
    plan = plan_of([0, 1, 2, 3, 4], category=[0] * 5)
    plan.judged["composed"] = JudgedSearch("composed", queries)  # type: ignore[index]  # a dict
    plan.judged["search_log"] = JudgedSearch("search_log", typed)  # type: ignore[index]  # a dict
    features = torch.randn(2, 5, generator=torch.Generator().manual_seed(3))
    embedded = SplitEmbeddings(image, image, model.layout)
    found = embed_judged(
        plan, embedded, model, {"composed": features, "search_log": features[:1]}
    ).judged
    with torch.no_grad():
        said = normalize(features @ model.text_head.weight.T, dim=1)
    assert torch.allclose(found["search_log"], said[:1], atol=1e-6)
    expected = normalize(2.0 * image[[3, 0]] + said, dim=1)
    assert torch.allclose(found["composed"], expected, atol=1e-6)
