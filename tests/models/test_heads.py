"""Attribute blocks beside an embedding."""

import torch
from torch.nn.functional import normalize

from fashret.models.heads import Projection, principal_axes, random_subspace
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


def test_principal_axes_keep_the_most_of_the_inner_products() -> None:
    """No other axes come nearer to the matrix of inner products: Eckart and Young."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(50, 8, generator=generator) * torch.linspace(3, 0.1, 8) + 1.0
    text = torch.randn(50, 8, generator=generator) * torch.linspace(0.1, 2, 8)
    rows = torch.arange(0, 50, 2)
    axes = principal_axes([image, text], rows, 3)
    assert torch.allclose(axes @ axes.T, torch.eye(3), atol=1e-5)
    used = torch.cat([image[rows], text[rows]])
    whole = used @ used.T

    def error(basis: torch.Tensor) -> float:
        short = used @ basis.T
        return float((whole - short @ short.T).norm())

    singular = torch.linalg.svd(used).Vh[:3]
    assert abs(error(axes) - error(singular)) < 1e-3 * error(singular)
    for seed in range(20):
        noise = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
        other = torch.linalg.qr(noise)[0].T
        assert error(axes) <= error(other) + 1e-3
    # The first axis carries most: fewer are the first of more.
    assert torch.allclose(principal_axes([image, text], rows, 1)[0], axes[0], atol=1e-5)


def test_a_narrow_retriever_embeds_on_the_axes() -> None:
    torch.manual_seed(0)
    image, text = Projection(torch.randn(6, 9), torch.randn(6)), Projection(torch.randn(6, 7), None)
    whole = Retriever(image, text)
    axes = torch.linalg.qr(torch.randn(6, 2))[0].T
    narrow = Retriever(image, text).narrow(axes)
    features = torch.randn(5, 9)
    expected = normalize(whole.image_head(features) @ axes.T, dim=1)
    assert narrow.dim == 2
    assert torch.allclose(narrow.embed_image(features), expected, atol=1e-5)
