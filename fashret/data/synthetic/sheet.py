"""A contact sheet of the sample: `python -m fashret.data.synthetic.sheet sample.jpg`."""

import io
import sys
from pathlib import Path

from PIL import Image

from fashret.data.synthetic.canvas import HEIGHT, WIDTH
from fashret.data.synthetic.draw import draw_views
from fashret.data.synthetic.garments import KINDS, make_products

_PRODUCTS = 5


def contact_sheet(*, seed: int = 0) -> Image.Image:
    """Draw a contact sheet: one row per category, with five products of two photos each.

    Args:
        seed: seed of the products.
    """
    products = make_products(3600, seed)
    sheet = Image.new("RGB", (2 * _PRODUCTS * WIDTH, len(KINDS) * HEIGHT), "white")
    for row, category in enumerate(KINDS):
        members = [p for p in products if p.garment.category == category][:_PRODUCTS]
        for column, product in enumerate(members):
            for view, (photo, _) in enumerate(draw_views(product, 2, seed)):
                corner = ((2 * column + view) * WIDTH, row * HEIGHT)
                sheet.paste(Image.open(io.BytesIO(photo)), corner)
    return sheet


if __name__ == "__main__":
    contact_sheet().save(Path(sys.argv[1]), quality=85)
