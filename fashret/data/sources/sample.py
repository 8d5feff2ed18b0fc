"""The built-in sample: garments drawn by the project itself."""

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from fashret.cpu import cores
from fashret.data.attribute_parser import Schema
from fashret.data.preparation_report import Report
from fashret.data.source import Item, Source
from fashret.data.synthetic.draw import draw_views
from fashret.data.synthetic.garments import Product, make_products
from fashret.errors import ConfigError
from fashret.process_pool import process_pool

_VERSION = 2
"""Of the drawing: a change makes other photos, so another table."""

_WORTH_A_POOL = 200
"""Products that take longer to draw than processes take to start."""

_LEAST = 48
"""Products that give every split a few of every kind."""


@dataclass(kw_only=True)
class Sample(Source):
    """Garments in a catalog's light, worn with others, in several views, with captions.

    Attributes are read from the captions, as they would be of any set; what was drawn is kept
    apart, to measure that reading.

    Half of the products are for training, a quarter each for validation and test. Cardigans,
    shorts, denim and leather are rare on purpose.

    Args:
        products: how many garments.
        views: photos of each; pose, crop, light, ground and caption differ.
    """

    name: str = "sample"
    attributes: Sequence[str] = (
        "material",
        "pattern",
        "neckline",
        "sleeve",
        "colour",
    )
    batch_size: int = 128
    schema: Schema | Mapping[str, object] | str | None = "first_edition"
    products: int = 3600
    views: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.products < _LEAST or self.views < 1:
            raise ConfigError(
                f"data.products={self.products} data.views={self.views}: the sample needs at "
                f"least {_LEAST} products and 1 view"
            )

    def identity(self) -> dict[str, Any]:
        """Its size and seed."""
        return {
            "version": _VERSION,
            "products": self.products,
            "views": self.views,
            "seed": self.seed,
        }

    def items(self, report: Report) -> Iterator[Item]:
        """The views of one product after another; many are drawn by all cores."""
        products = make_products(self.products, self.seed)
        draw = partial(draw_views, views=self.views, seed=self.seed)
        with _pool(self.products) as pool:
            drawn = map(draw, products) if pool is None else pool.map(draw, products, chunksize=32)
            for product, views in zip(products, drawn, strict=True):
                for view, (photo, caption) in enumerate(views):
                    report.rows_in += 1
                    yield _item(product, view, photo, caption)


def _pool(products: int) -> AbstractContextManager[ProcessPoolExecutor | None]:
    """Processes that draw; none for a few products, or within a process that cannot start any.

    A job of joblib's launcher cannot: its start method is not one that a child process knows.
    """
    method = multiprocessing.get_start_method(allow_none=True)
    usable = method is None or method in multiprocessing.get_all_start_methods()
    if products < _WORTH_A_POOL or not usable:
        return nullcontext()
    return process_pool(cores())


def _item(product: Product, view: int, photo: bytes, caption: str) -> Item:
    garment = product.garment
    return Item(
        item_id=f"{product.product_id}-{view}",
        image=photo,
        text=caption,
        category=garment.category,
        product_id=product.product_id,
        truth={
            "material": garment.material,
            "pattern": garment.pattern,
            "neckline": garment.neckline,
            "sleeve": garment.sleeve,
            "colour": garment.colour,
        },
        split=product.split,
        origin=f"{product.product_id} view {view}",
    )
