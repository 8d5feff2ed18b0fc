"""Decoding large photos no larger than the towers need: how much faster, and what it changes.

    python benchmarks/decoding.py [folder with styles.csv and images/]

Photos of 1,200 x 1,600 are made of real ones (of drawn ones without a folder), enlarged and with a
camera's grain, as JPEG files. They are decoded and resized for the tiny model (64 pixels) and for
a tower of 224 pixels, all of it and no more than is enough. Prints photos a second, how like the
tiny model's embeddings are, and whether the nearest photo is the same.
"""

import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from fashret.data.photos import decode_photo
from fashret.data.sample.draw import draw_views
from fashret.data.sample.garments import make_products
from fashret.models.backbone import load_backbone
from fashret.models.retriever import Retriever
from fashret.models.spec import ModelSpec

PHOTOS, SIZE, RUNS = 200, (1200, 1600), 3


def photos(folder: Path | None) -> list[bytes]:
    if folder is None:
        small = [draw_views(product, 1, 7)[0][0] for product in make_products(PHOTOS, 7)]
    else:
        small = [path.read_bytes() for path in sorted((folder / "images").glob("*.jpg"))[:PHOTOS]]
    rng = np.random.default_rng(0)
    made = []
    for encoded in small:
        pixels = np.asarray(decode_photo(encoded).resize(SIZE, Image.Resampling.LANCZOS))
        grain = rng.normal(0, 6, pixels.shape)
        file = io.BytesIO()
        picture = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
        picture.save(file, "JPEG", quality=90)
        made.append(file.getvalue())
    return made


def main(folder: Path | None) -> None:
    encoded = photos(folder)
    options = {"train": "heads", "train_blocks": 1, "heads": True, "resize": "longest"}
    spec = ModelSpec(name="fashret-tiny", pretrained="fashion", fill=255, seed=0, **options)
    backbone = load_backbone(spec, Path("unused"))
    retriever = Retriever.on(backbone).eval()
    wide = PreprocessCfg(size=(224, 224), resize_mode="longest", fill_color=255)
    transforms: dict[int, Callable[[Image.Image], torch.Tensor]] = {
        64: backbone.photo_transform(),
        224: image_transform_v2(wide, is_train=False),
    }
    print(f"{PHOTOS} photos of {SIZE[0]} x {SIZE[1]}, {sum(map(len, encoded)) / 1e6:.0f} MB")
    for side, transform in transforms.items():
        speeds: dict[int | None, list[float]] = {None: [], 2 * side: []}
        for _ in range(RUNS):
            for least, found in speeds.items():
                start = time.perf_counter()
                for photo in encoded:
                    transform(decode_photo(photo, least=least))
                found.append(PHOTOS / (time.perf_counter() - start))
        exact, reduced = (statistics.median(found) for found in speeds.values())
        ratio = reduced / exact
        print(f"input {side}: exact {exact:.0f}, reduced {reduced:.0f} photos/s, {ratio:.1f} times")
    embedded = []
    with torch.inference_mode():
        for least in (None, backbone.least):
            images = torch.stack([transforms[64](decode_photo(p, least=least)) for p in encoded])
            embedded.append(retriever.embed_image(backbone.encode_image(images)))
    like = (embedded[0] * embedded[1]).sum(dim=1)
    nearest = [(e @ e.T).fill_diagonal_(-1).argmax(dim=1) for e in embedded]
    same = float((nearest[0] == nearest[1]).float().mean())
    print(
        f"cosine of the two embeddings: {like.mean():.4f} on average, {like.min():.4f} at the least"
    )
    print(f"the nearest other photo is the same for {100 * same:.1f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
