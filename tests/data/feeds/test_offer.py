"""Cells of feeds: photos, values, categories."""

import pytest

from fashret.data.feeds.offer import cell, first_value, narrowest, photos_in, plain_rows, value_name


@pytest.mark.parametrize(
    ("written", "photos"),
    [
        ("", []),
        (None, []),
        ("a.jpg", ["a.jpg"]),
        ("a b, c.jpg", ["a b, c.jpg"]),
        ("a.jpg;b.JPG", ["a.jpg", "b.JPG"]),
        ("a.jpg | b.jpg", ["a.jpg", "b.jpg"]),
        ("a.jpg\nb.jpg\n", ["a.jpg", "b.jpg"]),
        ("a.jpg, b.jpg,a.jpg", ["a.jpg", "b.jpg"]),
        ('["a.jpg", "b;c.jpg"]', ["a.jpg", "b;c.jpg"]),
        ("[a.jpg", ["[a.jpg"]),
        (["a.jpg", None, "b.jpg"], ["a.jpg", "b.jpg"]),
        ("https://x.y/a.jpg", ["https://x.y/a.jpg"]),
        ("//x.y/a.jpg", ["https://x.y/a.jpg"]),
        ("https://x.y/a,b.jpg?w=1,2", ["https://x.y/a,b.jpg?w=1,2"]),
        ("https://x.y/a.jpg,https://x.y/b.jpg", ["https://x.y/a.jpg", "https://x.y/b.jpg"]),
        ("https://x.y/a.jpg; //x.y/b.jpg", ["https://x.y/a.jpg", "https://x.y/b.jpg"]),
        ("https://x.y/a.jpg http://x.y/b.jpg", ["https://x.y/a.jpg", "http://x.y/b.jpg"]),
    ],
)
def test_the_photos_in_a_cell(written: object, photos: list[str]) -> None:
    assert photos_in(written) == photos


def test_values_categories_and_names() -> None:
    assert [first_value(v) for v in ("Red/White", "red; blue", " red ", "a | b")] == [
        "Red", "red", "red", "a",
    ]  # fmt: skip
    assert narrowest("Apparel > Women > Dresses") == "Dresses"
    assert narrowest("Dresses") == "Dresses"
    assert narrowest("Handbags, Wallets & Cases > Money Clips") == "Money Clips"
    assert narrowest("1604") == ""
    assert [value_name(n) for n in ("Color", "Farbe", "Größe", "Fabric_Type", "Fit")] == [
        "colour", "colour", "size", "material", "fit",
    ]  # fmt: skip
    ((_, row),) = plain_rows([("", {"g:A": None, "B b": float("nan"), "C": " x ", "d": 9.0})])
    assert cell(row, "a", "b b", "c", "d") == "x"
    assert cell(row, "D") == "9"
    assert cell(row, "a", "missing") == ""
