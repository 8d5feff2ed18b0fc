"""The overview of a data set: what is suspicious in it is said, and of a clean one nothing."""

from pathlib import Path
from typing import Any

from fashret.data.preparation import prepare
from fashret.reports.overview import Overview, describe_table, suspicions
from support.sources import folder, photo


def shop(root: Path, rows: list[tuple[str, str, str, str, str, str]], **options: Any) -> Any:
    """A prepared folder of rows: image seed, text, category, product, colour, split."""
    for seed in {row[0] for row in rows}:
        photo(root / f"{seed}.png", int(seed))
    lines = ["item_id,image,text,category,product_id,colour,split"]
    lines += [f"i{n},{s}.png,{t},{c},{p},{co},{sp}" for n, (s, t, c, p, co, sp) in enumerate(rows)]
    (root / "items.csv").write_text("\n".join(lines))
    source = folder(root, table="items.csv", attributes=["colour"], **options)
    return prepare(source, root.parent / "cache")


def clean(number: int) -> tuple[str, str, str, str, str, str]:
    split = ("train", "validation", "test")[number // 2 % 3]
    colour = ("red", "blue")[number % 2]
    kind = ("dress", "coat")[number // 6 % 2]
    return (
        f"{number}",
        f"a {colour} {kind} with {number} buttons",
        kind,
        f"p{number // 2}",
        colour,
        split,
    )


def test_of_clean_data_nothing_is_suspicious(tmp_path: Path) -> None:
    table = shop(tmp_path / "shop", [clean(number) for number in range(660)])
    assert list(suspicions(table)) == []
    said = describe_table(table)
    assert said["As it was read"][0] == "660 rows read, 660 items kept"
    assert said["Items"] == [
        "660 items (train 220, validation 220, test 220) with 660 photos",
        "330 products, 330 of them with several items (at most 2); 0 items without a product",
    ]
    assert (
        said["Texts"][0] == "660 of 660 items have a text, 660 different ones, of 6 words (median)"
    )
    assert "English" in said["Texts"][1]
    assert said["Attributes"][1] == (
        "colour: known for 100%, 2 values, most often blue 50%, red 50%"
    )
    assert said["To look at"] == []


def test_what_is_suspicious_is_said(tmp_path: Path) -> None:
    rows = [clean(number) for number in range(60)]
    rows = [(s, t, c, f"p{n}", "red", sp) for n, (s, t, c, _, _, sp) in enumerate(rows)]
    rows[0] = ("0", "new arrival", "hat", "p0", "red", "train")
    for number in range(1, 12):
        rows[number] = (rows[number][0], "new arrival", *rows[number][2:])
    rows[2] = ("0", *rows[2][1:])  # the photo of another product, in another split
    said = "\n".join(suspicions(shop(tmp_path / "shop", rows)))
    assert "colour: all items of which it is known have one value, red" in said
    assert "1 categories have one item: hat" in said
    assert "1 texts are those of many items, such as 'new arrival' of 12" in said
    assert "2 items show a photo of another product" in said
    assert "1 photos of train are also in another split" in said
    assert "test has 20 items: intervals will be wide" in said
    assert "no product has two photos in test" in said


def test_lines_are_broken_between_words_and_headings_of_nothing_are_left_out() -> None:
    overview = Overview({"One": ["a word " * 12, "short"], "None": []})
    assert str(overview) == f"One\n  {'a word ' * 12}\n  short"
    broken = overview.wrapped(40).splitlines()
    assert broken[0] == "One"
    assert max(map(len, broken)) <= 40
    assert " ".join(line.strip() for line in broken[1:-1]) == ("a word " * 12).strip()
