"""Decoding large photos no larger than the towers need: how much faster, and what it changes.

    python benchmarks/decoding.py [--photos FOLDER]

Photos of 1,200 x 1,600 are drawn ones, enlarged and with a camera's grain, as JPEG files; with a
folder (styles.csv and images/) they are made of its real ones. They are decoded and resized for the
tiny model (64 pixels) and for a tower of 224 pixels, all of it and no more than is enough. A third
row says how like the tiny model's embeddings are, and whether the nearest photo is the same.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import drawn
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from measure import Options, Row, alternate, benchmark
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from fashret.config import build, config_dir
from fashret.data.photos import decode_photo
from fashret.models.backbone import load_backbone
from fashret.models.retriever import Retriever

SIZE = (1200, 1600)


def real(folder: Path, count: int) -> list[bytes]:
    """A folder's photos, enlarged, with grain."""
    rng = np.random.default_rng(0)
    made = []
    for path in sorted((folder / "images").glob("*.jpg"))[:count]:
        photo = decode_photo(path.read_bytes()).resize(SIZE, Image.Resampling.LANCZOS)
        pixels = np.asarray(photo)
        grain = rng.normal(0, 6, pixels.shape)
        file = io.BytesIO()
        Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(
            file, "JPEG", quality=90
        )
        made.append(file.getvalue())
    return made


def rows(options: Options) -> Iterator[Row]:
    count = 32 if options.quick else 200
    encoded = drawn.photos(count, SIZE) if options.photos is None else real(options.photos, count)
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", overrides=["paths.output_dir=."])
    backbone = load_backbone(build(cfg.model), Path("unused"))
    retriever = Retriever.from_backbone(backbone).eval()
    wide = PreprocessCfg(size=(224, 224), resize_mode="longest", fill_color=255)
    transforms: dict[int, Callable[[Image.Image], torch.Tensor]] = {
        64: backbone.photo_transform(),
        224: image_transform_v2(wide, is_train=False),
    }
    size = f"{SIZE[0]:,} x {SIZE[1]:,}"
    for side, transform in transforms.items():

        def shown(least: int | None, transform: Callable = transform) -> torch.Tensor:
            return torch.stack([transform(decode_photo(p, min_side=least)) for p in encoded])

        ratio = alternate(
            lambda side=side, shown=shown: shown(2 * side),
            lambda shown=shown: shown(None),
            1 if options.quick else 3,
        )
        apart = float((ratio.found[0] - ratio.found[1]).abs().mean())
        note = f"{count / ratio.ours:.0f} against {count / ratio.theirs:.0f} photos/s; pixels "
        note += f"differ by {apart:.3f} standard deviations on average"
        yield Row.of(f"{count} photos of {size} for {side} pixels", "exact", ratio, note=note)
    embedded = []
    with torch.inference_mode():
        for least in (None, backbone.min_side):
            images = torch.stack([transforms[64](decode_photo(p, min_side=least)) for p in encoded])
            embedded.append(retriever.embed_image(backbone.encode_image(images)))
    like = (embedded[0] * embedded[1]).sum(dim=1)
    nearest = [(e @ e.T).fill_diagonal_(-1).argmax(dim=1) for e in embedded]
    same = float((nearest[0] == nearest[1]).float().mean())
    yield Row(
        "embeddings of reduced photos, tiny",
        note=f"cosine to the exact ones {like.mean():.4f} on average, {like.min():.4f} at the "
        f"least; the nearest other photo is the same for {same:.1%}",
    )


if __name__ == "__main__":
    benchmark(rows, __doc__)
