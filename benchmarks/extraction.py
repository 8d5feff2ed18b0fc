"""Colours read from real titles against the column of Fashion Product Images.

    python benchmarks/extraction.py data.root=<folder>

Agreement is the share of the titles of which a colour is read whose column has the same. Recall is
the share of the titles that hold a phrase of their column's colour of which it is read. A column
may be wrong, or name one colour of two: of 100 disagreements, drawn by chance, a person decided
from the title whether it states the colour that was read (`colour_disagreements.csv`: `wrong` is
`column` where it does, `text` where it was misread). The last row is the precision that follows.
"""

import csv
import sys
from pathlib import Path

import numpy as np

import fashret
from fashret.data.attribute_parser import Schema
from fashret.data.phrases import tokenize

JUDGED = Path(__file__).with_name("colour_disagreements.csv")


def main() -> None:
    table = fashret.prepare("data=fashion_products", *sys.argv[1:])
    schema = Schema.from_config("fashion")
    texts, categories, colours = (table.column(n) for n in ("text", "category", "colour"))
    read = [
        schema.read(text, category).get("colour")
        for text, category in zip(texts, categories, strict=True)
    ]
    known = [None if c == "unknown" else schema.value("colour", c) for c in colours]
    both = [row for row in range(len(table)) if read[row] and known[row]]
    differ = {row for row in both if read[row] != known[row]}
    stated = [
        row for row in range(len(table)) if known[row] and states(schema, texts[row], known[row])
    ]
    found = sum(read[row] == known[row] for row in stated)
    print(f"titles {len(table)}, a colour is read of {len(both)} whose column has one")
    print(f"agreement with the column {1 - len(differ) / len(both):.3f} ({len(differ)} differ)")
    print(f"recall {found / len(stated):.3f} of {len(stated)} that hold their column's colour")
    rows = {item: row for row, item in enumerate(table.column("item_id"))}
    with JUDGED.open() as file:
        judged = [
            line["wrong"] == "text"
            for line in csv.DictReader(file)
            if rows.get(line["item_id"]) in differ
        ]
    share, n = np.mean(judged), len(judged)
    wide = 1.96 * (share * (1 - share) / n) ** 0.5
    best, worst = (
        (1 - max(0.0, s) * len(differ) / len(both)) for s in (share - wide, share + wide)
    )
    print(
        f"precision {1 - share * len(differ) / len(both):.3f} ({worst:.3f} to {best:.3f}): of "
        f"{n} judged disagreements the text was misread in {sum(judged)}"
    )


def states(schema: Schema, text: str, value: str) -> bool:
    """Whether a text holds a phrase of a colour, whatever it belongs to."""
    words = f" {' '.join(tokenize(text))} "
    return any(f" {' '.join(tokenize(p))} " in words for p in schema.phrases("colour", value))


if __name__ == "__main__":
    main()
