"""Texts that are trimmed to their length, without a change."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from fashret.models.backbone import load_backbone
from support.architectures import FAMILIES, spec

pytestmark = pytest.mark.usefixtures("stand_ins")


def test_texts_are_trimmed_without_a_change(tmp_path: Path) -> None:
    backbone = load_backbone(spec("fashret-tiny"), tmp_path).eval()
    texts = ["red " * n for n in (1, 30, 3, 60, 2, 0)] * 20
    tokens = backbone.tokenize(texts)
    with torch.inference_mode():
        trimmed = backbone.encode_text(tokens)
        whole = backbone.clip.encode_text(tokens, normalize=False)
    assert torch.allclose(trimmed, whole, atol=1e-5)


@pytest.mark.parametrize(
    "family", ["vit", "mobilenet"]
)  # open_clip's two ways to hold a text tower
def test_several_threads_encode_texts_as_one_does(family: str, tmp_path: Path) -> None:
    backbone = load_backbone(spec(f"stand-in-{family}"), tmp_path).eval()
    texts = [["dress " * n] for n in range(1, 13)]  # of as many lengths as there are

    @torch.inference_mode()
    def encoded(text: list[str]) -> torch.Tensor:
        return backbone.encode_text(backbone.tokenize(text))

    alone = [encoded(text) for text in texts]
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(encoded, texts * 20))
    assert len(together) == 240
    assert all(torch.equal(value, alone[i % 12]) for i, value in enumerate(together))
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())


TRIMMED = {"vit", "convnext", "mobilenet", "resnet"}
"""The families whose texts end in a token that sees all before it and nothing after."""


@pytest.mark.parametrize("family", FAMILIES)
def test_shorter_texts_are_trimmed_only_where_that_is_exact(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_backbone(spec(f"stand-in-{family}"), tmp_path).eval()
    words = [1, 9, 3, 2, 1, 5] * 20 + [40]  # 40 are more than the 16 tokens of the context
    tokens = backbone.tokenize(["dress " * n for n in words])
    seen: list[int] = []
    tower = getattr(backbone.clip, "text", backbone.clip)
    embed = tower.token_embedding.forward

    def watched(tokens: torch.Tensor) -> Any:
        seen.append(tokens.shape[1])
        return embed(tokens)

    with torch.inference_mode():
        expected = backbone.clip.encode_text(tokens, normalize=False)
        monkeypatch.setattr(tower.token_embedding, "forward", watched)
        found = backbone.encode_text(tokens)
    assert torch.allclose(found, expected, atol=1e-6)
    # 121 texts, 64 at a time by length: the first 64 have at most 3 words and two marks.
    assert seen == ([5, 16] if family in TRIMMED else [16])
