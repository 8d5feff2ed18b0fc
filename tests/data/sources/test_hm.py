"""H&M's articles, on a small copy of their layout with their quirks in it."""

import csv
from pathlib import Path

from support.official_sets import Prepare
from support.sources import balanced, photo, rows


def test_hm_quirks(tmp_path: Path, made: Prepare) -> None:
    root = tmp_path / "set"
    header = [
        "article_id", "product_code", "prod_name", "product_type_no", "product_type_name",
        "product_group_name", "graphical_appearance_no", "graphical_appearance_name",
        "colour_group_code", "colour_group_name", "perceived_colour_value_id",
        "perceived_colour_value_name", "perceived_colour_master_id",
        "perceived_colour_master_name", "department_no", "department_name", "index_code",
        "index_name", "index_group_no", "index_group_name", "section_no", "section_name",
        "garment_group_no", "garment_group_name", "detail_desc",
    ]  # fmt: skip

    def row(article: str, **values: str) -> dict[str, str]:
        given = {
            "article_id": article, "product_code": article[:7], "prod_name": "Strap top",
            "product_type_name": "Vest top", "graphical_appearance_name": "Stripe",
            "colour_group_name": "Dark Blue", "index_group_name": "Ladieswear",
            "detail_desc": "Jersey top, with narrow straps.",
        }  # fmt: skip
        return dict.fromkeys(header, "") | given | values

    articles = [
        row("0108775015"),
        row("0108775044", graphical_appearance_name="Unknown", detail_desc=""),
        row("110065001"),  # its 0 was lost
        row("0111565001", graphical_appearance_name="Melange", index_group_name="Sport"),
        row("0999999001"),
        row("12"),
        *(row(f"02{i:05d}001", index_group_name="Menswear") for i in range(12)),
    ]
    root.mkdir()
    with (root / "articles.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(articles)
    for seed, article in enumerate(articles):
        name = article["article_id"].rjust(10, "0")
        if name not in ("0999999001", "0000000012"):
            photo(root / "images" / name[:3] / f"{name}.jpg", seed)
    table = made("hm")
    found, report = rows(table), balanced(table)
    assert report["dropped"] == {"missing photo": 1, "article_id is not ten digits": 1}
    assert report["repaired"] == {"article_id without its leading 0": 1}
    first, second = found["0108775015"], found["0108775044"]  # ids are text
    assert first["product_id"] == second["product_id"] == "0108775"
    assert first["split"] == second["split"]
    assert first["text"] == "Strap top. Jersey top, with narrow straps."
    assert second["text"] == "Strap top"
    assert (first["pattern"], first["colour"], first["gender"]) == ("striped", "blue", "women")
    assert second["pattern"] == "unknown"
    assert found["0111565001"]["pattern"] == "melange"  # a word that the schema does not have
    assert found["0111565001"]["gender"] == "unknown"
    assert "0110065001" in found
    assert any("expected 105,542" in note for note in report["notes"])
