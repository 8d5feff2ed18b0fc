"""A search log over real photos, drawn from their attributes, as a set for `task=search_log`.

python benchmarks/drawn_log.py --photos <Fashion Product Images> --out <folder>
python train.py task=search_log data=folder data.root=<Fashion Product Images>/images \
    data.table=<folder>/items.csv data.judgments=<folder>/log.csv

Queries are an item's article type or sub-category with one or two of its season, colour, gender and
usage: words of shoppers, many of which no title has (summer, formal, topwear). Popular ones are
asked more often, and three of ten are for the test. A session shows 20 items: those with the most
of the asked values, by a ranking with noise. Its user looks at rank r with the probability 1 / r,
and clicks an item that has all values with 0.6, one that has all but one with 0.1, and any other
with 0.02. So clicks are biased by position, some are wrong, and good items that were shown low have
few or none.
"""

import argparse
import csv
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fashret.data.source import SHARES
from fashret.data.splits import split_of

ASKED = ("season", "baseColour", "gender", "usage", "articleType", "subCategory")
"""The columns that a query names, in the order of its words; the last two are its type."""

QUERY_SHARES = {"train": 0.6, "validation": 0.1, "test": 0.3}
SHOWN, NOISE = 20, 0.7
CLICKED, ANY = {0: 0.6, 1: 0.1}, 0.02


def read_styles(photos: Path, count: int, seed: int) -> list[dict[str, str]]:
    """Choose some rows of styles.csv that have all values and a photo."""
    with (photos / "styles.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if all(row[name] for name in ASKED)]
    rows = [row for row in rows if (photos / "images" / f"{row['id']}.jpg").is_file()]
    return random.Random(seed).sample(rows, count)


def write_items(rows: Sequence[dict[str, str]], table: Path) -> None:
    """Write the table of the items: id, photo, title, values, and the split by their title."""
    with table.open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["item_id", "image", "text", "category", "colour", "gender", "split"])
        for row in rows:
            title = row["productDisplayName"]
            split = split_of(" ".join(title.lower().split()) or row["id"], SHARES, 0)
            described = [row[name] for name in ("articleType", "baseColour", "gender")]
            write.writerow([row["id"], f"{row['id']}.jpg", title, *described, split])


def draw_log(
    rows: Sequence[dict[str, str]], *, clicks: int, queries: int, seed: int
) -> Counter[tuple[str, str]]:
    """Draw the clicks of a search log, by query and item id."""
    rng, choice = np.random.default_rng(seed), random.Random(seed)
    values = {name: sorted({row[name] for row in rows}) for name in ASKED}
    codes = np.array([[values[name].index(row[name]) for name in ASKED] for row in rows])
    asked: dict[str, tuple[list[int], list[int]]] = {}
    while len(asked) < queries:
        number = choice.randrange(len(rows))
        named = [*sorted(choice.sample(range(4), choice.choice((1, 2)))), choice.choice((4, 5))]
        text = " ".join(rows[number][ASKED[i]] for i in named).lower()
        asked[text] = named, codes[number, named].tolist()
    texts = list(asked)
    popularity = 1.0 / np.arange(1, len(texts) + 1) ** 0.5
    found: Counter[tuple[str, str]] = Counter()
    while found.total() < clicks:
        text = texts[rng.choice(len(texts), p=popularity / popularity.sum())]
        named, wanted = asked[text]
        missing = (codes[:, named] != wanted).sum(axis=1)
        shown = np.argsort(missing + NOISE * rng.standard_normal(len(codes)))[:SHOWN]
        looks = rng.random(SHOWN) < 1.0 / np.arange(1, SHOWN + 1)
        likes = rng.random(SHOWN) < [CLICKED.get(int(missing[item]), ANY) for item in shown]
        found.update((text, rows[item]["id"]) for item in shown[looks & likes])
    return found


def write_log(found: Counter[tuple[str, str]], log: Path, seed: int) -> None:
    """Write the clicks as a table, each query in one split."""
    with log.open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["query", "item_id", "clicks", "split"])
        write.writerows(
            [text, item, count, split_of(text, QUERY_SHARES, seed)]
            for (text, item), count in sorted(found.items())
        )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--items", type=int, default=4_000)
    parser.add_argument("--clicks", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = read_styles(given.photos, given.items, given.seed)
    write_items(rows, given.out / "items.csv")
    found = draw_log(rows, clicks=given.clicks, queries=given.queries, seed=given.seed)
    write_log(found, given.out / "log.csv", given.seed)
    queries = len({query for query, _ in found})
    print(f"{found.total()} clicks of {queries} queries on {len(found)} pairs: {given.out}")


if __name__ == "__main__":
    main()
