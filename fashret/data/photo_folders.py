"""Photos in nested folders: which files are photos, and what each level of folders says."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from fashret.data.photos import SUFFIXES
from fashret.data.report import Report
from fashret.data.splits import looks_like_split, split_named
from fashret.errors import DataError

FOLDER_CONFIDENCE = 0.9
"""Of a product that is the folder of its photos."""

_FEW = 8
"""Photos that a folder of one product has at most, in the median."""

_MANY = 20
"""Folders at the top that may be products; fewer are categories, however small."""

_NOT_DATA = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")


def walk_photos(root: Path) -> Iterator[str]:
    """Find the photos below a folder: paths below it, with slashes, sorted by folder.

    Hidden files and folders, what systems leave behind, and the folders of fashret's own runs are
    left out. Links to folders are followed, but none twice on one path.
    """
    entered = {os.path.realpath(root)}
    for folder, below, names in os.walk(root, followlinks=True):
        if ".hydra" in below:
            below.clear()  # a run's folder, whose pictures are no data
            continue
        below[:] = sorted(
            name
            for name in below
            if not name.startswith(".")
            and name not in _NOT_DATA
            and _enters(os.path.realpath(os.path.join(folder, name)), entered)
        )
        start = os.path.relpath(folder, root)
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield name if start == "." else f"{start}/{name}".replace(os.sep, "/")


def _enters(real: str, entered: set[str]) -> bool:
    """Whether a folder is new; it then counts as entered."""
    if real in entered:
        return False
    entered.add(real)
    return True


@dataclass(frozen=True)
class FolderLevels:
    """What the folders of a set of photos say.

    Attributes:
        split_of: the split by folder at the top; empty where the set states none.
        levels: what each level below states, from the top: a field of an item or "" for nothing.
            None where the last folder is the category, or the product if `products`.
        products: whether the last folder of the deepest photos is a product.
        depth: folders above the deepest photos, without that of the split.
    """

    split_of: dict[str, str]
    levels: Sequence[str] | None
    products: bool
    depth: int

    @classmethod
    def of(
        cls,
        paths: Sequence[str],
        report: Report,
        *,
        root: str,
        levels: Sequence[str] | None,
        stated_splits: bool,
    ) -> "FolderLevels":
        """Tell from the photos' paths.

        Args:
            paths: of the photos, below the root.
            report: is told what was taken for a product.
            root: for messages.
            levels: what the user says that each level is; None to tell it from the photos.
            stated_splits: whether folders may be splits.

        Raises:
            DataError: some folders at the top are splits and others are not.
        """
        split_of = _split_folders(paths, root) if stated_splits and levels is None else {}
        folders = Counter(
            tuple(path.split("/")[bool(split_of) : -1])
            for path in paths
            if not split_of or path.split("/")[0] in split_of
        )
        depth = max((len(folder) for folder in folders), default=0)
        deepest = {folder: n for folder, n in folders.items() if len(folder) == depth}
        products = levels is None and _are_products(deepest, depth)
        if products:
            example = "/".join(next(iter(deepest)))
            report.warn(
                f"data.root={root}: taking each folder of the deepest level as one product "
                f"({len(deepest)} folders such as {example}, {median(deepest.values()):g} photos "
                "in the median); data.levels says otherwise, from the top, for example "
                f"data.levels=[{','.join(['category'] * depth)}]"
            )
        return cls(split_of, levels, products, depth)

    def fields(self, path: str) -> dict[str, str] | None:
        """The fields of an item that the path of its photo states.

        Returns:
            By field; None for a photo beside the folders of splits.
        """
        *folders, _ = path.split("/")
        found: dict[str, str] = {}
        if self.split_of:
            if not folders or folders[0] not in self.split_of:
                return None
            found["split"] = self.split_of[folders[0]]
            folders = folders[1:]
        if self.levels is not None:
            for name, folder in zip(self.levels, folders, strict=False):
                if name == "product_id":
                    found[name] = "/".join(folders[: self.levels.index(name) + 1])
                elif name:
                    found[name] = folder
        elif self.products and len(folders) == self.depth:
            found["product_id"] = "/".join(folders)
            if len(folders) > 1:
                found["category"] = folders[-2]
        elif folders:
            found["category"] = folders[-1]
        return found


def _split_folders(paths: Sequence[str], root: str) -> dict[str, str]:
    """The split by folder at the top; empty where no folder is a split."""
    tops = dict.fromkeys(path.split("/")[0] for path in paths if "/" in path)
    named = {top: split for top in tops if (split := split_named(top)) is not None}
    unclear = [top for top in tops if top not in named]
    if (named and unclear) or any(looks_like_split(top) for top in unclear):
        known = [top for top in tops if looks_like_split(top)]
        raise DataError(
            f"data.root={root}: the folders {', '.join(known[:5])} look like splits, but beside "
            f"them are {', '.join(top for top in tops if top not in named) or 'others'}. Name all "
            "folders train, validation or test, move the others elsewhere, or take all folders as "
            "categories and cut new splits with data.stated_splits=false"
        )
    return named


def _are_products(folders: dict[tuple[str, ...], int], depth: int) -> bool:
    """Whether folders of one level hold a product each, and not a category.

    They hold few photos; below another level there are several in most; at the top there are many,
    most with a number in their names.
    """
    if not folders or not depth or median(folders.values()) > _FEW:
        return False
    numbered = sum(any(c.isdigit() for c in folder[-1]) for folder in folders)
    if depth == 1:
        return len(folders) >= _MANY and 2 * numbered > len(folders)
    parents = {folder[:-1] for folder in folders}
    return 2 * numbered > len(folders) or len(folders) >= 2 * len(parents)
