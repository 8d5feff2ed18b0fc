"""Encoding a catalog's photos and captions against the bare work, and against open_clip's own way.

    python benchmarks/encoding.py

Drawn photos with a grain, as JPEG files of 480 x 640 and 1,200 x 1,600, with captions, prepared
as a data set. Three ways to the same features, none of which has the data or the model to load:

- ours: `ensure_catalog`, all of it: workers decode, towers run, features, embeddings and checksums
  are on disk at the end, and verified.
- bare: one plain loop: the same decoding and transform, a stack of a batch, the same forward
  passes of the same towers. Nothing is written. Ours must keep 95 % of its throughput.
- open_clip's own way: PIL opens the file, open_clip's transform in a torch DataLoader with as many
  workers, `encode_image` and `encode_text` over all tokens, normalised.

Ours has the default settings; where they decode a large JPEG at a part of its size, which
open_clip's way does not, embeddings are close and not equal, and the row says how close.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import drawn
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from measure import Options, Row, alternate, benchmark
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fashret.catalog.build import ensure_catalog
from fashret.catalog.folder import Catalog
from fashret.config import build, config_dir
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.data.photos import decode_photo
from fashret.data.preparation import prepare
from fashret.models.backbone import Backbone, load_backbone
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec

BATCH, WORKERS = 256, 2
BOUND = 1 / 0.95
CLIP_RETRIEVAL = (
    "not installed: 2.45 wants numpy < 2, pandas < 3 and open_clip < 3; put beside ours with "
    "pip install --no-deps it does not import"
)


@dataclass
class Case:
    """A prepared set of photos, and a model.

    Attributes:
        root: the folder of photos.
        scratch: where catalogs are written.
        table: the items.
        spec: the model.
        backbone: its towers.
        whole: the same towers as open_clip has them, projections included.
    """

    root: Path
    scratch: Path
    table: ItemTable
    spec: ModelSpec
    backbone: Backbone
    whole: torch.nn.Module

    @classmethod
    def of(cls, root: Path, scratch: Path, *model: str) -> "Case":
        """Prepare both."""
        with initialize_config_dir(config_dir(), version_base="1.3"):
            cfg = compose("train", overrides=[*drawn.overrides(root, scratch), *model])
        spec = build(cfg.model)
        second = Retriever.from_backbone(load_backbone(spec, scratch))
        assert second.backbone is not None
        whole = second.backbone.fold(second.image_head, second.text_head)
        table = prepare(build(cfg.data), scratch / "cache")
        return cls(root, scratch, table, spec, load_backbone(spec, scratch).eval(), whole.eval())

    def ours(self) -> Catalog:
        """The catalog, built from nothing."""
        shutil.rmtree(self.scratch / "built", ignore_errors=True)
        return ensure_catalog(
            self.table,
            self.spec.identity(self.scratch),
            lambda: Retriever.from_backbone(self.backbone),
            self.scratch / "built",
            label=self.spec.label,
            num_workers=WORKERS,
        )

    def batches(self) -> Iterator[np.ndarray]:
        """Rows, as a catalog's batches are cut."""
        for split in self.table.splits:
            rows = self.table.rows(split)
            for start in range(0, len(rows), BATCH):
                yield rows[start : start + BATCH]

    def bare(self) -> tuple[Tensor, Tensor]:
        """Features of photos and of texts."""
        codes = ItemCodes(self.table)
        tokens = self.backbone.tokenize(codes.captions)
        transform, least = self.backbone.photo_transform(), self.backbone.min_side
        made = []
        for rows in self.batches():
            photos = [
                transform(decode_photo(self.table.photo(row), min_side=least)) for row in rows
            ]
            with torch.inference_mode():
                images = self.backbone.encode_image(torch.stack(photos))
                texts = self.backbone.encode_text(tokens[codes.caption[torch.from_numpy(rows)]])
            made.append((images, texts))
        images, texts = (torch.cat(part) for part in zip(*made, strict=True))
        return images, texts

    def by_open_clip(self) -> tuple[Tensor, Tensor]:
        """Embeddings of photos and of texts."""
        tokens = self.backbone.tokenize(self.table.column("text"))
        order = [int(row) for rows in self.batches() for row in rows]
        files = [self.root / f"{int(self.table.column('item_id')[row]):06d}.jpg" for row in order]
        photos = Files(files, tokens[order], self.backbone.photo_transform())
        made = []
        for images, texts in DataLoader(photos, batch_size=BATCH, num_workers=WORKERS):
            with torch.inference_mode():
                made.append(
                    (
                        self.whole.encode_image(images, normalize=True),
                        self.whole.encode_text(texts, normalize=True),
                    )
                )
        images, texts = (torch.cat(part) for part in zip(*made, strict=True))
        return images, texts

    def rows(self, name: str, repeats: int) -> Iterator[Row]:
        """Measure the three."""
        what = f"{len(self.table):,} {name}"
        order = np.concatenate(list(self.batches()))
        ratio = alternate(self.ours, self.bare, repeats)
        catalog, (images, texts) = ratio.found
        for stored, made in ((catalog.image_features, images), (catalog.text_features, texts)):
            apart = float((stored[order].float() - made).abs().max())
            assert apart <= 1e-4 * float(made.abs().max()), f"features differ by {apart}"
        pace = f"{len(self.table) / ratio.ours:.0f} against {len(self.table) / ratio.theirs:.0f}"
        yield Row.of(what, "bare loop", ratio, bound=BOUND, note=f"{pace} items/s")

        ratio = alternate(self.ours, self.by_open_clip, repeats)
        catalog, (images, texts) = ratio.found
        like = (catalog.image[order].float() * images).sum(dim=1)
        apart = float((catalog.text[order].float() - texts).abs().max())
        assert apart <= 1e-4, f"text embeddings differ by {apart}"
        assert float(like.min()) > 0.98, f"photos have a cosine of {like.min():.4f} at the least"
        pace = f"{len(self.table) / ratio.ours:.0f} against {len(self.table) / ratio.theirs:.0f}"
        note = f"{pace} items/s; embeddings have a cosine of {like.min():.4f} at the least"
        yield Row.of(what, "open_clip's transform, DataLoader and towers", ratio, note=note)


class Files(Dataset[tuple[Tensor, Tensor]]):
    """Photos as files, with their tokens."""

    def __init__(self, files: list[Path], tokens: Tensor, transform: object) -> None:
        self.files, self.tokens, self.transform = files, tokens, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return self.transform(Image.open(self.files[place])), self.tokens[place]


def rows(options: Options) -> Iterator[Row]:
    small, large = (480, 640), (1200, 1600)
    vit = "model=vitb32", "model.pretrained=null"
    cases = [
        ("photos of 480 x 640, tiny", small, 2560, (), 4),
        ("photos of 1,200 x 1,600, tiny", large, 1024, (), 2),
        ("photos of 480 x 640, ViT-B-32", small, 256, vit, 2),
    ]
    for name, size, count, model, repeats in cases:
        count = count // 32 if options.quick else count
        with tempfile.TemporaryDirectory() as scratch:
            root = drawn.folder(Path(scratch, "photos"), count, size)
            case = Case.of(root, Path(scratch), *model)
            yield from case.rows(name, 1 if options.quick else repeats)
    yield Row("photos of 480 x 640, ViT-B-32", "clip-retrieval inference", note=CLIP_RETRIEVAL)


if __name__ == "__main__":
    benchmark(rows, __doc__)
