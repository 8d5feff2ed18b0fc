"""The products of a few items, as codes and as plain lists."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fashret.data.product_grouping import Products
from fashret.data.string_columns import encode


def grouped(products: Sequence[str | None], confidences: Sequence[float]) -> Products:
    """Products from the id of each item's, None for none, and their confidences."""
    codes, names = encode(pa.chunked_array([list(products)], pa.string()))
    return Products(codes, np.array(confidences), names)


def plain(products: Products) -> tuple[list[str | None], list[float]]:
    """The id and the confidence of each item's product."""
    return products.column().to_pylist(), products.confidence.tolist()
