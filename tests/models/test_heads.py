"""Attribute blocks beside an embedding."""

import torch
from torch.nn.functional import normalize

from fashret.models.heads import Projection, random_subspace
from fashret.models.retriever import Retriever


def test_blocks_stand_beside_an_embedding_that_stays_as_it_was() -> None:
    torch.manual_seed(0)
    image, text = Projection(torch.randn(6, 9), torch.randn(6)), Projection(torch.randn(6, 7), None)
    block = random_subspace(image, 4, 0), random_subspace(text, 4, 0)
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
