"""Several views of real photos, as a set of products for `task=product`.

python benchmarks/views.py --photos <folder with images/> --out <folder>
python train.py task=product data=folder data.root=<folder> data.table=<folder>/items.csv
"""

import argparse
import csv
import random
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter

VIEWS = 3


def view(photo: Image.Image, seed: str) -> Image.Image:
    """Crop, tilt, mirror, light and blur a photo; the same seed gives the same view."""
    rng = random.Random(seed)
    white = (255, 255, 255)
    photo = photo.rotate(rng.uniform(-25, 25), Image.Resampling.BICUBIC, fillcolor=white)
    width, height = photo.size
    keep = rng.uniform(0.5, 0.9)
    left, top = rng.random() * (1 - keep) * width, rng.random() * (1 - keep) * height
    box = (int(left), int(top), int(left + keep * width), int(top + keep * height))
    photo = photo.crop(box)
    if rng.random() < 0.5:
        photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    photo = ImageEnhance.Brightness(photo).enhance(rng.uniform(0.5, 1.5))
    return photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 1.5)))


def write_views(photos: Path, folder: Path, products: int, seed: int = 0) -> Path:
    """Write the views of some products, with a table, a quarter of the products held out.

    Args:
        photos: a folder with images/.
        folder: where the views go.
        products: number of products.
        seed: of the choice of products and of the views.

    Returns:
        The table: item_id, image, product_id, split. It has no texts.
    """
    files = sorted((photos / "images").glob("*.jpg"))
    chosen = random.Random(seed).sample(files, products)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "items.csv"
    with table.open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["item_id", "image", "product_id", "split"])
        for number, path in enumerate(chosen):
            split = "train" if number % 4 else ("test" if number % 8 else "validation")
            with Image.open(path) as opened:
                photo = opened.convert("RGB")
            for i in range(VIEWS):
                name = f"{path.stem}_{i}.jpg"
                view(photo, f"{seed}-{path.stem}-{i}").save(folder / name, quality=92)
                write.writerow([name, name, path.stem, split])
    return table


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--products", type=int, default=900)
    given = parser.parse_args()
    print(write_views(given.photos, given.out, given.products))


if __name__ == "__main__":
    main()
