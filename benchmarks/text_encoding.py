"""Encoding captions against the same tower over all 77 tokens, and how often each is encoded.

    python benchmarks/text_encoding.py

Captions are the drawn sample's, the tower is ViT-B-32's with random weights. The features of both
must be equal to 1e-5. The second row counts the texts that pass through the tower while a catalog
is built: equal captions need to be encoded once.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import drawn
import torch
from hydra import compose, initialize_config_dir
from measure import Options, Row, alternate, benchmark
from torch import Tensor

from fashret.catalog.build import ensure_catalog
from fashret.config import build, config_dir
from fashret.data.preparation import prepare
from fashret.models.backbone import Backbone, load_backbone
from fashret.models.retriever import Retriever


def trimmed(count: int, repeats: int) -> Row:
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose(
            "train", overrides=["model=vitb32", "model.pretrained=null", "paths.output_dir=."]
        )
    backbone = load_backbone(build(cfg.model), Path("unused")).eval()
    texts = sorted(set(drawn.captions(4 * count)))[:count]
    tokens = backbone.tokenize(texts)
    with torch.inference_mode():
        ratio = alternate(
            lambda: backbone.encode_text(tokens),
            lambda: torch.cat(
                [backbone.clip.encode_text(part, normalize=False) for part in tokens.split(64)]
            ),
            repeats,
        )
    apart = float((ratio.found[0] - ratio.found[1]).abs().max())
    assert apart <= 1e-5, f"features differ by {apart}"
    lengths = (tokens.argmax(dim=1) + 1).double()
    note = f"{lengths.mean():.1f} tokens on average, features equal to {apart:.0e}"
    return Row.of(f"{count} captions, ViT-B-32", "all 77 tokens", ratio, note=note)


def counted(count: int) -> Row:
    """Texts that are encoded for a catalog, against the distinct ones among them."""
    seen = 0
    whole = Backbone.encode_text

    def counting(self: Backbone, tokens: Tensor) -> Tensor:
        nonlocal seen
        seen += len(tokens)
        return whole(self, tokens)

    with tempfile.TemporaryDirectory() as scratch:
        root = drawn.folder(Path(scratch, "photos"), count, (120, 160))
        with initialize_config_dir(config_dir(), version_base="1.3"):
            cfg = compose("train", overrides=drawn.overrides(root, Path(scratch)))
        table = prepare(build(cfg.data), Path(scratch, "cache"))
        distinct = len(set(table.column("text")))
        backbone = load_backbone(build(cfg.model), Path("unused"))
        with patch.object(Backbone, "encode_text", counting):
            ensure_catalog(
                table,
                {},
                lambda: Retriever.from_backbone(backbone),
                Path(scratch, "cache"),
                label="bench",
            )
    what, against = f"texts encoded for {count:,} items", "distinct captions"
    if not seen:
        return Row(what, against, note="not counted: another process encoded them")
    ratio = seen / distinct
    return Row(what, against, seen, distinct, "texts", ratio, ratio, ratio, bound=1.0)


def rows(options: Options) -> Iterator[Row]:
    yield trimmed(16 if options.quick else 128, 1 if options.quick else 4)
    yield counted(300 if options.quick else 2000)


if __name__ == "__main__":
    benchmark(rows, __doc__)
