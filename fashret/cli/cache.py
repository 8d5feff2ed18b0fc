"""`fashret cache`: list, verify and remove the entries of the cache."""

import argparse
import re
import sys
from datetime import datetime
from pathlib import Path

from fashret.cache import default_cache_dir
from fashret.disk import readable_bytes
from fashret.errors import CatalogError, FashretError
from fashret.pipelines.cache import (
    CacheEntry,
    cache_entries,
    remove_entry,
    to_remove,
    verify_entry,
)

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def main() -> None:
    """The console command."""
    parser = argparse.ArgumentParser(
        prog="fashret cache",
        description="List, verify or remove prepared data, stored features, catalogs and weights, "
        "which all runs share.",
        epilog="Whatever is removed is made again when it is next needed. Examples: "
        "fashret cache --older-than 30; fashret cache --max-size 50GB --dry-run",
    )
    parser.add_argument(
        "--remove", action="append", default=[], metavar="NAME", help="remove an entry"
    )
    parser.add_argument(
        "--older-than", type=float, metavar="DAYS", help="remove what was not used for so long"
    )
    parser.add_argument(
        "--max-size",
        type=_size,
        metavar="SIZE",
        help="remove the least recently used until the cache is no larger, such as 50GB",
    )
    parser.add_argument("--leftovers", action="store_true", help="remove what killed commands left")
    parser.add_argument("--dry-run", action="store_true", help="show what would be removed")
    parser.add_argument("--verify", action="store_true", help="compare all checksums")
    parser.add_argument("--dir", type=Path, default=None, help="the cache; default: FASHRET_CACHE")
    given = parser.parse_args()
    folder = (given.dir or default_cache_dir()).expanduser()
    entries = cache_entries(folder)
    try:
        if given.verify:
            if faults := _verify(entries):
                sys.exit(f"error: {faults} entries differ from their checksums")
            return
        if (
            given.remove
            or given.leftovers
            or given.older_than is not None
            or given.max_size is not None
        ):
            chosen = to_remove(
                entries,
                names=given.remove,
                older_than=given.older_than,
                max_size=given.max_size,
                leftovers=given.leftovers,
            )
            _remove(chosen, dry_run=given.dry_run)
            return
    except FashretError as e:
        sys.exit(f"error: {e}")
    _list(folder, entries)


def _list(folder: Path, entries: list[CacheEntry]) -> None:
    from fashret.reports.screen import console, show_table

    total = readable_bytes(sum(entry.size for entry in entries))
    print(f"{folder}: {len(entries)} entries, {total}")
    if entries:
        rows = [
            [entry.name, entry.kind, readable_bytes(entry.size), _date(entry), entry.about]
            for entry in entries
        ]
        show_table(console(), ["entry", "kind", "size", "last used", "what"], rows)
        print("fashret cache --help says how to verify and remove entries")


def _verify(entries: list[CacheEntry]) -> int:
    """Print what is wrong with each entry, and return the number of such entries."""
    faults = 0
    checked = [entry for entry in entries if entry.kind in ("catalogs", "features")]
    for entry in checked:
        if wrong := verify_entry(entry):
            print(f"{entry.name}: {wrong}")
            faults += 1
    print(f"{len(checked)} entries with checksums verified, {faults} with faults")
    return faults


def _remove(chosen: list[CacheEntry], *, dry_run: bool) -> None:
    removed = []
    for entry in chosen:
        try:
            if not dry_run:
                remove_entry(entry)
        except CatalogError as e:
            print(f"kept: {e}")
            continue
        removed.append(entry)
        done = "would be removed" if dry_run else "removed"
        print(f"{done}: {entry.path} ({readable_bytes(entry.size)}); {entry.cost}")
    total = readable_bytes(sum(entry.size for entry in removed))
    print(f"{len(removed)} entries, {total}" + (", nothing was removed" if dry_run else ""))


def _size(text: str) -> float:
    """A size such as 50GB, 500M or a number of bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B?", text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 50GB or 500MB")
    return float(found[1]) * _UNITS[found[2]]


def _date(entry: CacheEntry) -> str:
    return datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")


if __name__ == "__main__":
    main()
