"""Pictures of the results: all ratios, and what grows with a catalog."""

from collections.abc import Mapping
from pathlib import Path

from measure import Row
from report import Entry


def draw(entries: Mapping[str, Entry], folder: Path) -> list[Path]:
    """Draw what the results hold.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    rows = [(name, Row(**row)) for name, entry in entries.items() for row in entry["rows"]]
    return [*_ratios(rows, folder / "ratios.png"), *_growth(rows, folder / "growth.png")]


def _ratios(rows: list[tuple[str, Row]], path: Path) -> list[Path]:
    """A point a ratio with its spread, and a mark at its bound."""
    import matplotlib.pyplot as plt

    shown = [(name, row) for name, row in rows if row.ratio is not None and row.ratio > 0]
    if not shown:
        return []
    figure, axes = plt.subplots(figsize=(11, 1.2 + 0.24 * len(shown)), layout="constrained")
    for place, (_, row) in enumerate(shown):
        colour = "#b3261e" if row.met is False else "#1f5f8b"
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2)
        axes.plot(row.ratio, place, "o", color=colour, markersize=5)
        if row.bound is not None:
            axes.plot(row.bound, place, "|", color="black", markersize=11, markeredgewidth=2)
    labels = [f"{name}: {row.measurement} / {row.baseline}" for name, row in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.axvline(1.0, color="grey", linewidth=1)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("ours over theirs, log scale: left of 1 ours takes less; | is a bound")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return [path]


def _growth(rows: list[tuple[str, Row]], path: Path) -> list[Path]:
    """Seconds and memory by items, a line a step."""
    import matplotlib.pyplot as plt

    points: dict[str, list[tuple[int, float, float]]] = {}
    for _, row in rows:
        if row.curve:
            point = row.curve["items"], row.curve["seconds"], row.curve["gib"]
            points.setdefault(row.curve["step"], []).append(point)
    if not points:
        return []
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for step, found in points.items():
        items, seconds, gib = zip(*sorted(found), strict=True)
        panels[0].plot(items, seconds, "o-", label=step)
        # Below a thousandth of a GiB pages of the interpreter are what is seen.
        panels[1].plot(items, [max(value, 1e-3) for value in gib], "o-", label=step)
    for axes, what in zip(panels, ("seconds", "GiB above the inputs, at the most"), strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("items")
        axes.set_ylabel(what)
        axes.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return [path]
