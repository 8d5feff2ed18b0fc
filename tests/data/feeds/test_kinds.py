"""Which feed a file is."""

import pytest

from fashret.data.feeds.kinds import kind_of
from fashret.errors import DataError


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (["Handle", "Title", "Image Src"], "shopify"),
        (["handle", "title", "image src"], "shopify"),
        (["ID", "Type", "SKU", "Name", "Images"], "woocommerce"),
        (["id", "title", "image_link"], "merchant"),
        (["g:id", "g:image_link"], "merchant"),
        (["id", "title", "image link"], "merchant"),
        (["Image", "text"], "table"),
    ],
)
def test_columns_tell_the_kind(columns: list[str], kind: str) -> None:
    assert kind_of(columns, None, "f.csv") == kind
    assert kind_of(columns, kind, "f.csv") == kind
    assert kind_of(columns, "table", "f.csv") == "table"


def test_an_unknown_file_is_refused_with_the_next_step() -> None:
    with pytest.raises(DataError, match=r"f.csv is no feed .* it has photo, title. Say which"):
        kind_of(["photo", "title"], None, "f.csv")
    with pytest.raises(DataError, match=r"data.kind=shopify: f.csv has no column Handle"):
        kind_of(["photo", "Image Src"], "shopify", "f.csv")
