"""WooCommerce's export."""

from fashret.data.feeds.offer import plain_rows
from fashret.data.feeds.woocommerce import offers
from fashret.data.preparation_report import Report


def test_variations_have_their_parents_text() -> None:
    rows = [
        {"ID": "1", "Type": "simple", "SKU": "cap", "Name": "Cap", "Published": "1",
         "Categories": "Hats\\, more > Caps, Sale", "Images": "https://x.y/1.jpg, https://x.y/2.jpg"},
        {"ID": "2", "Type": "variable", "SKU": "tee", "Name": "Tee", "Published": "1",
         "Categories": "Tops", "Images": "t.jpg", "Description": "<p>Soft</p>\\nWarm",
         "Attribute 1 name": "Color", "Attribute 1 value(s)": "Red, Blue",
         "Attribute 2 name": "Material", "Attribute 2 value(s)": "Cotton"},
        {"ID": "3", "Type": "variation", "SKU": "tee-r", "Parent": "tee", "Images": "r.jpg",
         "Published": "1", "Attribute 1 name": "Color", "Attribute 1 value(s)": "Red"},
        {"ID": "4", "Type": "variation", "SKU": "", "Parent": "id:2", "Images": "",
         "Published": "1", "Attribute 1 name": "Color", "Attribute 1 value(s)": "Blue"},
        {"ID": "5", "Type": "variation", "SKU": "x", "Parent": "gone", "Published": "1"},
        {"ID": "6", "Type": "simple", "SKU": "draft", "Published": "-1"},
    ]  # fmt: skip
    report = Report()
    found = list(offers(plain_rows((f"line {n}", row) for n, row in enumerate(rows, 2)), report))
    assert [(o.product_id, o.item_id, o.photos, o.title, o.category, o.values) for o in found] == [
        ("id:1", "cap", ["https://x.y/1.jpg", "https://x.y/2.jpg"], "Cap", "Caps", {}),
        ("id:2", "tee", ["t.jpg"], "Tee", "Tops", {"material": "Cotton"}),
        ("id:2", "tee-r", ["r.jpg"], "Tee", "Tops", {"colour": "Red"}),
        ("id:2", "4", [], "Tee", "Tops", {"colour": "Blue"}),
    ]
    assert list(found[1].description) == ["Soft", "Warm"]
    assert dict(report.dropped) == {
        "variation without its parent": 1, "not sold: draft, archived or not published": 1,
    }  # fmt: skip
    assert report.rows_in == 6
