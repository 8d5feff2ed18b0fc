"""Photos in nested folders: finding them, and reading fields from the folders' names."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from fashret.data.photos import SUFFIXES
from fashret.data.preparation_report import Report
from fashret.data.splits import SplitAndRole, role_named, split_named, splits_named
from fashret.errors import DataError

FOLDER_CONFIDENCE = 0.9
"""The confidence of a product that is inferred from its photos' folder."""

_FEW = 8
"""Photos that a folder of one product has at most, in the median."""

_MANY = 20
"""Folders at the top that may be products; fewer are categories, however small."""

_NOT_DATA = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")


def walk_photos(root: Path) -> Iterator[str]:
    """Find the photos below a folder: paths below it, with slashes, sorted by folder.

    Hidden files and folders, what systems leave behind, and the folders of fashret's own runs are
    left out. Links to folders are followed, but none to a folder within the root, whose photos are
    found there, and none in a circle.
    """
    yield from _walk(os.path.abspath(root), "", (os.path.realpath(root),))


def _walk(folder: str, below: str, entered: tuple[str, ...]) -> Iterator[str]:
    """Yield the photos of a folder and of those in it; see `walk_photos`.

    Args:
        folder: its path.
        below: the same below the root, with a slash at its end; "" for the root.
        entered: real paths of the root, of the folder, and of those between.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    if any(entry.name == ".hydra" for entry in entries):
        return  # a run's folder, whose pictures are no data
    folders = []
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _NOT_DATA:
            continue
        if entry.is_dir():
            folders.append(entry)
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            yield f"{below}{entry.name}"
    for entry in folders:
        real = os.path.realpath(entry.path)
        inside = entry.is_symlink() and real.startswith(entered[0] + os.sep)
        if real not in entered and not inside:  # what a link within the root leads to comes anyway
            yield from _walk(entry.path, f"{below}{entry.name}/", (*entered, real))


@dataclass(frozen=True)
class FolderLevels:
    """The meaning of each level of folders of a data set.

    Attributes:
        split_of: split and role by folder name; None for a folder that is left out. Empty if no
            folder is a split.
        above: number of levels above the folders of the splits, which all photos share.
        levels: field of an item for each level below, from the top, "" for none. None if the last
            folder is the category, or the product if `products`.
        products: whether the folders `depth` levels below are products.
        depth: number of levels of folders above most photos, below those of the splits.
    """

    split_of: Mapping[str, SplitAndRole | None]
    above: int
    levels: Sequence[str] | None
    products: bool
    depth: int

    @classmethod
    def from_paths(
        cls,
        paths: Sequence[str],
        report: Report,
        *,
        root: str,
        levels: Sequence[str] | None,
        stated_splits: bool,
        split_names: Mapping[str, str | None],
    ) -> "FolderLevels":
        """Infer the meaning of the folders from the photos' paths.

        Args:
            paths: paths of the photos below the root.
            report: gets a warning if folders are taken for products.
            root: the root folder, for messages.
            levels: the user's `data.levels`, a field or "" for each level; None infers them.
            stated_splits: whether folders may be splits.
            split_names: the user's `data.split_names`, by folder name.

        Raises:
            DataError: some folders at the top are splits and others are not, or folders further
                down look like splits.
        """
        folders = Counter(tuple(path.split("/")[:-1]) for path in paths)
        above = _shared(folders)
        split_of: Mapping[str, SplitAndRole | None] = {}
        if stated_splits and "split" not in (levels or ()):
            tops = dict.fromkeys(folder[above] for folder in folders if len(folder) > above)
            split_of = splits_named(tops, split_names, where=f"data.root={root}")
            _check_lower_levels(folders, above, f"data.root={root}")
        skipped = above + 1 if split_of else 0
        inner: Counter[tuple[str, ...]] = Counter()
        for folder, photos in folders.items():
            if not split_of or (len(folder) > above and folder[above] in split_of):
                inner[folder[skipped:]] += photos
        by_depth: Counter[int] = Counter()
        for folder, photos in inner.items():
            by_depth[len(folder)] += photos
        depth = by_depth.most_common(1)[0][0] if by_depth else 0
        leaves: Counter[tuple[str, ...]] = Counter()
        for folder, photos in inner.items():
            if len(folder) >= depth:
                leaves[folder[:depth]] += photos
        products = levels is None and _are_products(leaves, depth)
        if products:
            example = "/".join(next(iter(leaves)))
            fields = [*["null"] * (depth - 2), *["category", "product_id"][-depth:]]
            report.warn(
                f"data.root={root}: taking folders such as {example} as one product each "
                f"({len(leaves)} folders, {median(leaves.values()):g} photos in the median), as "
                f"data.levels=[{','.join(fields)}] does. If they are categories, say "
                f"data.levels=[{','.join([*['null'] * (depth - 1), 'category'])}]"
            )
        return cls(split_of, above, levels, products, depth)

    def fields(self, path: str) -> dict[str, str] | None:
        """Read the fields of an item from the path of its photo.

        Returns:
            Values by field; None for a photo outside the folders of splits.

        Raises:
            DataError: `levels` says that a folder is a split, but its name is not one of a split.
        """
        *folders, _ = path.split("/")
        found: dict[str, str] = {}
        if self.split_of:
            top = folders[self.above] if len(folders) > self.above else ""
            stated = self.split_of.get(top)
            if stated is None:
                return None
            found["split"] = stated[0]
            if stated[1] is not None:
                found["role"] = stated[1]
            folders = folders[self.above + 1 :]
        if self.levels is not None:
            for number, (name, folder) in enumerate(zip(self.levels, folders, strict=False), 1):
                if name == "product_id":
                    found[name] = "/".join(folders[:number])
                elif name in ("split", "role"):
                    found |= _stated(name, folder, path)
                elif name:
                    found[name] = folder
        elif self.products and len(folders) >= self.depth:
            found["product_id"] = "/".join(folders[: self.depth])
            if self.depth > 1:
                found["category"] = folders[self.depth - 2]
        elif folders:
            found["category"] = folders[-1]
        return found


def _stated(level: str, folder: str, path: str) -> dict[str, str]:
    """Read the split or role that a folder's name means."""
    split, role = split_named(folder) or (None, None)
    if level == "role":
        role, split = role_named(folder), None
    if split is None and role is None:
        raise DataError(
            f"{path}: data.levels says that folder {folder} is a {level}, but it has none of the "
            f"names of a {level}"
        )
    return {name: value for name, value in (("split", split), ("role", role)) if value}


def _shared(folders: Iterable[tuple[str, ...]]) -> int:
    """Count the levels of folders that all photos share, and that are not splits."""
    first, *others = folders
    return next(
        (
            level
            for level, name in enumerate(first)
            if split_named(name) is not None
            or any(len(other) <= level or other[level] != name for other in others)
        ),
        max(0, len(first) - 1),
    )


def _check_lower_levels(folders: Iterable[tuple[str, ...]], above: int, where: str) -> None:
    """Make sure that no level of folders below the first states splits.

    Raises:
        DataError: the folders of a level are splits.
    """
    names: dict[int, set[str]] = {}
    for folder in folders:
        for level, name in enumerate(folder[above + 1 :], above + 1):
            names.setdefault(level, set()).add(name)
    for level, held in names.items():
        splits = {split_named(name) for name in held}
        if None not in splits and len(splits) > 1:
            levels = ",".join(["null"] * level + ["split"])
            raise DataError(
                f"{where}: the folders {', '.join(sorted(held))} look like splits, but are not at "
                f"the top. Say what each level of folders is, for example data.levels=[{levels}], "
                "or cut new splits with data.stated_splits=false"
            )


def _are_products(folders: Mapping[tuple[str, ...], int], depth: int) -> bool:
    """Return whether the folders of one level are products rather than categories.

    Product folders have few photos each. Below another level most parents have several of them; at
    the top level there are many, most of them with a number in their names.
    """
    if not folders or not depth or median(folders.values()) > _FEW:
        return False
    numbered = sum(any(c.isdigit() for c in folder[-1]) for folder in folders)
    if depth == 1:
        return len(folders) >= _MANY and 2 * numbered > len(folders)
    parents = {folder[:-1] for folder in folders}
    return 2 * numbered > len(folders) or len(folders) >= 2 * len(parents)
