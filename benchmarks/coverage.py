"""How often 95 % intervals cover the truth for new products.

    python benchmarks/coverage.py                                  # drawn embeddings
    python benchmarks/coverage.py --catalogs <folder> <folder>     # two catalogs of one data set
    python benchmarks/coverage.py --sets 200 --products 100        # a quick look

Draws many sets of products, evaluates two systems on each as evaluate.py does, and counts how often
the interval of a value, and of a difference, holds the mean over all sets. With drawn embeddings
there are two more systems that differ by chance alone: in how many sets is a metric called
REGRESSED? A metric whose mean is within 3 points of 0 or 1 is marked: its spread is one-sided.
The table goes to the screen, and as a Markdown file to --out.

Sets are drawn without replacement from the products of a catalog. An hour on two idle cores.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from tqdm.auto import tqdm

from fashret.catalog.folder import open_catalog
from fashret.evaluation import intervals
from fashret.evaluation.comparison import compare
from fashret.evaluation.evaluator import Evaluation
from fashret.evaluation.intervals import list_depth
from fashret.evaluation.options import RetrievalOptions
from fashret.evaluation.ranking import SplitEmbeddings, rank_split
from fashret.evaluation.split_search import SplitSearch
from fashret.functional.blocks import Layout
from fashret.functional.bootstrap import holm_adjust
from fashret.functional.retrieval import METRICS

RESAMPLES = 500
SEED = 20_000


@dataclass(frozen=True)
class Population:
    """Where sets are drawn from.

    Attributes:
        catalogs: two folders of one data set; None for drawn embeddings.
        rows: of the catalogs' items, by product.
    """

    catalogs: tuple[Path, Path] | None = None

    def draw(self, products: int, seed: int) -> tuple[Any, list[tuple[Tensor, Tensor]]]:
        """A set: codes of its items, and (image, text) embeddings of each system."""
        if self.catalogs is None:
            return _drawn(products, seed)
        return _from_catalogs(*_opened(self.catalogs), products, seed)


def _drawn(products: int, seed: int) -> tuple[Any, list[tuple[Tensor, Tensor]]]:
    """Two photos a product; category, an attribute that half of the items lack, and texts.

    System 1 knows less of the product and more of the attribute than system 0. Systems 2 and 3 are
    system 0 with noise of one size each.
    """
    world = torch.Generator().manual_seed(1)
    generator = torch.Generator().manual_seed(SEED + seed)
    dim = 32
    categories, values = (torch.randn(n, dim, generator=world) for n in (8, 6))

    def noise(scale: float, rows: int) -> Tensor:
        return scale * torch.randn(rows, dim, generator=generator)

    shares = (torch.tensor([30.0, 20, 15, 10, 10, 6, 5, 4]), torch.tensor([40.0, 25, 15, 10, 5, 5]))
    category, value = (
        torch.multinomial(share, products, True, generator=generator) for share in shares
    )
    own = 0.45 * categories[category] + 0.3 * values[value] + noise(0.9, products)
    unit = torch.arange(products).repeat_interleave(2)
    image = own[unit] + noise(1.15, 2 * products)
    text = own[unit] + noise(1.5, 2 * products)
    other = image + noise(0.5, 2 * products) + 0.15 * values[value][unit]
    pairs = [(image, text), (other, text)]
    pairs += [(image + noise(0.5, 2 * products), text) for _ in range(2)]
    known = torch.rand(products, generator=generator) < 0.5
    described = {
        "category": (category[unit], [f"c{i}" for i in range(8)]),
        "neckline": (torch.where(known, value, -1)[unit], [f"v{i}" for i in range(6)]),
    }
    codes = SimpleNamespace(product=unit, caption=torch.arange(2 * products), labels=described)
    return codes, [(normalize(i, dim=1), normalize(t, dim=1)) for i, t in pairs]


_OPEN: dict[tuple[Path, Path], Any] = {}


def _opened(folders: tuple[Path, Path]) -> Any:
    """The catalogs, the codes of their items, and the rows of each product; opened once."""
    if folders not in _OPEN:
        catalogs = [open_catalog(folder) for folder in folders]
        meta = catalogs[0].meta()
        product = meta["product_id"].where(meta["product_id"].notna(), meta["item_id"])
        units = np.unique(product.astype(str), return_inverse=True)[1]
        order = np.argsort(units, kind="stable")
        rows = np.split(order, np.cumsum(np.bincount(units))[:-1])
        described = {}
        names = set(meta) - {"item_id", "product_id", "split", "text", "role"}
        for name in sorted(names):
            column = meta[name].fillna("unknown").astype(str)
            values = sorted(set(column) - {"unknown"})
            place = {v: i for i, v in enumerate(values)}
            described[name] = (np.array([place.get(v, -1) for v in column]), values)
        caption = np.unique(meta["text"].fillna("").astype(str), return_inverse=True)[1]
        caption = np.where(meta["text"].isna(), -1, caption)
        _OPEN[folders] = (catalogs, units, caption, described, rows)
    return _OPEN[folders]


def _from_catalogs(
    catalogs: Any,
    units: NDArray[np.int64],
    caption: NDArray[np.int64],
    described: Any,
    rows: list[NDArray[np.int64]],
    products: int,
    seed: int,
) -> tuple[Any, list[tuple[Tensor, Tensor]]]:
    rng = np.random.default_rng(SEED + seed)
    chosen = rng.choice(len(rows), products, replace=False)
    here = np.concatenate([rows[i] for i in chosen])
    codes = SimpleNamespace(
        product=torch.from_numpy(units[here]),
        caption=torch.from_numpy(caption[here]),
        labels={n: (torch.from_numpy(c[here]), v) for n, (c, v) in described.items()},
    )
    where = torch.from_numpy(here)
    return codes, [(c.image[where].float(), c.text[where].float()) for c in catalogs]


def measure(
    seed: int, population: Population, products: int, splits: int | None = None
) -> dict[str, NDArray[np.float64]]:
    """Values, differences and their intervals on one set, a row a headline metric."""
    torch.set_num_threads(1)
    if splits is not None:
        intervals.MOST_SPLITS = intervals.FEWEST_SPLITS = splits
    codes, systems = population.draw(products, seed)
    options = RetrievalOptions(
        k=[10], exclude="self", weight_image=0.7, candidates=None, catalog_splits=None,
        slice_metrics=[], max_queries=None, max_items=None, seed=seed, resamples=RESAMPLES,
    )  # fmt: skip
    rows = np.arange(len(codes.product))
    plan = SplitSearch("test", options, rows, rows, codes, tuple(codes.labels))
    depth = list_depth(plan.searches["image"], 10)
    made = []
    for image, text in systems:
        embedded = SplitEmbeddings(image, text, Layout.from_widths({"general": image.shape[1]}))
        rankings = rank_split(plan, embedded, depth=depth)
        made.append(
            Evaluation.from_rankings(
                plan, {mode: ranking for mode, (_, ranking) in rankings.items()}
            )
        )
    keys = headlines(plan)
    first, means = made[0].results(keys), [one.means() for one in made]
    change = compare(made[1], made[0], keys)
    result = {
        "value": [means[0][key] for key in keys],
        "value_low": [first[key]["low"] for key in keys],
        "value_high": [first[key]["high"] for key in keys],
        "delta": [means[1][key] - means[0][key] for key in keys],
        "delta_low": [change[key].low for key in keys],
        "delta_high": [change[key].high for key in keys],
    }
    if len(made) == 4:
        equal = compare(made[3], made[2], keys)
        adjusted = holm_adjust([equal[key].p for key in keys])
        fell = [means[3][key] < means[2][key] for key in keys]
        result["regressed"] = [p < 0.05 and down for p, down in zip(adjusted, fell, strict=True)]
    # A metric without a query in this set has no value: NaN.
    return {name: np.array(numbers, dtype=np.float64) for name, numbers in result.items()}


def headlines(plan: SplitSearch) -> list[str]:
    """The metrics that a scoreboard shows first."""
    keys = []
    for mode in ("image", "text", "fused"):
        for relevance in plan.relevances(mode):
            metric = "hit" if relevance in ("product", "pair") else "precision"
            keys.append(f"test/{mode}/{relevance}/{metric}@10")
    assert set(METRICS) >= {"hit", "precision"}
    return keys


def table(
    population: Population,
    products: int,
    sets: int,
    jobs: int,
    splits: int | None,
    raw: Path | None = None,
) -> list[str]:
    """The lines of one cell: products in a set."""
    work = partial(measure, population=population, products=products, splits=splits)
    with ProcessPoolExecutor(jobs) as pool:
        made = list(tqdm(pool.map(work, range(sets), chunksize=8), total=sets, unit=" sets"))
    held = {name: np.stack([one[name] for one in made]) for name in made[0]}
    if raw is not None:
        np.savez(raw.with_suffix(f".{products}.npz"), **held)  # type: ignore[arg-type]  # numpy's own stub
    codes, _ = population.draw(products, 0)
    rows = np.arange(len(codes.product))
    keys = headlines(SplitSearch("test", None, rows, rows, codes, tuple(codes.labels)))  # type: ignore[arg-type]  # needs no options
    lines = [
        f"{products} products, {sets} sets",
        "",
        "| metric | mean | value covered | difference | difference covered |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for i, key in enumerate(keys):
        cells = [key.partition("/")[2]]
        for what in ("value", "delta"):
            seen = held[what][:, i]
            truth = np.nanmean(seen)
            known = ~np.isnan(seen)
            inside = (held[f"{what}_low"][:, i] <= truth) & (truth <= held[f"{what}_high"][:, i])
            cells += [f"{100 * truth:.1f}", f"{100 * inside[known].mean():.1f}"]
        mean = np.nanmean(held["value"][:, i])
        if not 0.03 <= mean <= 0.97:
            cells[0] += " (near its bound)"
        lines.append(f"| {' | '.join(cells)} |")
    if "regressed" in held:
        share = (held["regressed"] > 0).any(axis=1).mean()
        lines += [
            "",
            f"Two equal systems: a metric is called REGRESSED in {100 * share:.1f} % of sets.",
        ]
    return [*lines, ""]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--catalogs", nargs=2, type=Path, default=None)
    parser.add_argument("--products", nargs="+", type=int, default=[100, 300])
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--splits", type=int, help="fewer than evaluate.py's 100, to save time")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--raw", type=Path, help="keep what was measured, as <raw>.<products>.npz")
    parser.add_argument("--out", type=Path, default=Path("coverage.md"))
    given = parser.parse_args()
    population = Population(None if given.catalogs is None else tuple(given.catalogs))
    for products in given.products:
        lines = table(population, products, given.sets, given.jobs, given.splits, given.raw)
        print("\n".join(lines), flush=True)
        with given.out.open("a") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
