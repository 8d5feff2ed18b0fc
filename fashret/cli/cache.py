"""`fashret cache`: list and remove the entries of the cache."""

import argparse
import shutil
import sys
from datetime import datetime
from pathlib import Path

from fashret.cache import default_cache_dir

_KINDS = ("data", "catalogs", "weights")


def main() -> None:
    """The console command."""
    parser = argparse.ArgumentParser(
        prog="fashret cache",
        description="List or remove prepared data, catalogs and weights, which all runs share.",
        epilog="A removed entry is made again when it is next needed.",
    )
    parser.add_argument(
        "--remove", action="append", default=[], metavar="NAME", help="remove an entry"
    )
    parser.add_argument("--dir", type=Path, default=None, help="the cache; default: FASHRET_CACHE")
    given = parser.parse_args()
    folder = (given.dir or default_cache_dir()).expanduser()
    entries = {path.name: path for kind in _KINDS for path in _entries(folder / kind)}
    for name in given.remove:
        if name not in entries:
            sys.exit(f"error: {folder} has no entry '{name}': fashret cache lists the entries")
        _remove(entries[name])
        print(f"removed {entries.pop(name)}")
    if given.remove:
        return

    from fashret.reports.screen import console, show_table

    rows = [
        [path.name, path.parent.name, _size(path), _date(path)]
        for path in sorted(entries.values(), key=lambda p: p.stat().st_mtime, reverse=True)
    ]
    print(f"{folder}: {len(rows)} entries, {_readable(_bytes(folder))}")
    if rows:
        show_table(console(), ["entry", "kind", "size", "last written"], rows)


def _entries(folder: Path) -> list[Path]:
    """The entries of one kind, without lock files and unfinished ones."""
    if not folder.is_dir():
        return []
    return [p for p in folder.iterdir() if not p.name.endswith((".lock", ".partial", ".sqlite"))]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)


def _bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _size(path: Path) -> str:
    return _readable(_bytes(path))


def _readable(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _date(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M")


if __name__ == "__main__":
    main()
