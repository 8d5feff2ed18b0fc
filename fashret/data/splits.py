"""Splits of items into train, validation and test: stated names, and new splits by hash."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, groupby, repeat

import numpy as np
from numpy.typing import NDArray

from fashret.errors import DataError

SPLITS = ("train", "validation", "test")

_NAMES = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev", "development", "eval", "evaluation"),
    "test": ("test", "testing", "tests", "tst"),
}
_SPLIT_OF = {name: split for split, names in _NAMES.items() for name in names}
_ROLE_OF = {"query": "query", "queries": "query", "gallery": "gallery"}
SPLIT_NAMES = (*_SPLIT_OF, "query", "gallery")
"""Names of splits that are understood, in any case, also as `test_set` or `images-train`. Query and
gallery are the test split."""

ROLES = ("query", "gallery")

_ANY = "|".join(_SPLIT_OF)
_KIND = r"(?:set|split|data|images?|imgs?|photos?)"
_A_SPLIT = re.compile(rf"(?:{_KIND}[\s_.-]+)?({_ANY})(?:[\s_.-]*{_KIND})?")
_LIKE_A_SPLIT = re.compile(
    rf"(?:.*[\s_.-])?(?:{_ANY}|hold[-_ ]?out|unseen)"
    rf"(?:[\s_.-]*\d+|[\s_.-]+[a-z]|[\s_.-]*{_KIND})?"
)

SplitAndRole = tuple[str, str | None]


def split_named(label: str) -> SplitAndRole | None:
    """Return the split and the role that a data set's own name for them means.

    `dev` is (validation, None), `Query` is (test, query). None if the name is not understood.
    """
    plain = label.strip().casefold()
    if plain in _ROLE_OF:
        return "test", _ROLE_OF[plain]
    match = _A_SPLIT.fullmatch(plain)
    return None if match is None else (_SPLIT_OF[match[1]], None)


def role_named(label: str) -> str | None:
    """Return the role that a data set's own name for it means, None if it is not understood."""
    return _ROLE_OF.get(label.strip().casefold())


def looks_like_split(label: str) -> bool:
    """Return whether a name reads like that of a split, understood or not: `test2`, `my_train`."""
    plain = label.strip().casefold()
    return plain in _ROLE_OF or _LIKE_A_SPLIT.fullmatch(plain) is not None


def splits_named(
    names: Iterable[str], given: Mapping[str, str | None], *, where: str
) -> dict[str, SplitAndRole | None]:
    """Read the names of a data set's splits.

    Args:
        names: names of folders, or of the data set's own splits.
        given: the user's `data.split_names`: the meaning of each name; null leaves one out.
        where: config key and value of the data set, for the message.

    Returns:
        The split and role by name, None for one that is left out; nothing at all where no name is
        that of a split. A name that means a role counts only beside that of the other role.

    Raises:
        DataError: some names are those of splits and others are not.
    """
    found = {name: split_named(name) for name in names}
    for name, meant in given.items():
        if name in found:
            found[name] = None if meant is None else split_named(meant)
            if meant is not None and found[name] is None:
                raise DataError(
                    f"data.split_names.{name}={meant}: use train, validation, test, query or "
                    "gallery, or null to leave it out"
                )
    roles = {stated[1] for stated in found.values() if stated is not None} - {None}
    if len(roles) == 1:
        found = {n: None if stated and stated[1] else stated for n, stated in found.items()}
    unclear = [name for name, stated in found.items() if stated is None and name not in given]
    like = [name for name in found if looks_like_split(name) and role_named(name) is None]
    if not unclear:
        return found
    if any(found.values()) or like:
        known = [name for name in found if name not in unclear]
        what = (
            f"{', '.join(known)} are splits, but it is not clear what {', '.join(unclear[:5])} is"
            if known
            else f"{', '.join(like[:5])} look like splits, but it is not clear which"
        )
        raise DataError(
            f"{where}: {what}. Say what names mean with data.split_names={{{unclear[0]}: train}} "
            "(or validation, test, null to leave it out), or cut new splits of all items with "
            "data.stated_splits=false"
        )
    return {}


def split_of(group: str, shares: Mapping[str, float], seed: int) -> str:
    """Assign a group of items to a split by a hash of its name and the seed.

    The split does not depend on the other items, so that an item that is held out of a part of a
    data set is held out of the whole as well.

    Args:
        group: name of the group, such as a product id.
        shares: share of each split, adding up to 1.
        seed: seed of the hash.
    """
    return _split_at(digest([seed, group]), shares)


def _split_at(group_hash: str, shares: Mapping[str, float]) -> str:
    """Return the split of a group by its hash, from `digest`."""
    position = int(group_hash, 16) / 2**48  # within 0 and 1
    used = [split for split in SPLITS if shares.get(split, 0.0) > 0.0]
    return used[int(np.searchsorted(_cuts(shares, used), position, side="right"))]


def _cuts(shares: Mapping[str, float], used: Sequence[str]) -> NDArray[np.float64]:
    """The hashes, 0 to 1, at which one split ends and the next begins."""
    return np.cumsum([shares[split] for split in used])[:-1]


def group_hashes(groups: Iterable[str], seed: int, count: int = -1) -> NDArray[np.uint64]:
    """Hash the names of groups, each as `split_of` does.

    Args:
        groups: the group of each of N items; those of one group may follow one another.
        seed: seed of the hash.
        count: their number, where it is known: a large array is then made once.

    Returns:
        (N,) hashes, below 2^48.
    """
    runs = groupby(groups)  # the items of a product mostly follow one another
    hashes = (repeat(int(digest([seed, name]), 16), len([*run])) for name, run in runs)
    return np.fromiter(chain.from_iterable(hashes), dtype=np.uint64, count=count)


def assign_splits(hashes: NDArray[np.uint64], shares: Mapping[str, float]) -> NDArray[np.int8]:
    """Assign items to splits by the hashes of their groups, but leave no split empty.

    Args:
        hashes: (N,) hash of each item's group (`group_hashes`).
        shares: share of each split, adding up to 1.

    Returns:
        (N,) number of each item's split, in the order of `SPLITS`. In a data set so small that a
        split would stay empty, the groups whose hashes are nearest to it are assigned to it.
    """
    used = [split for split in SPLITS if shares.get(split, 0.0) > 0.0]
    number = np.searchsorted(_cuts(shares, used), hashes / 2**48, side="right")
    if len(np.unique(number)) < len(used):
        groups, place = np.unique(hashes, return_inverse=True)
        of_group = np.searchsorted(_cuts(shares, used), groups / 2**48, side="right")
        if len(groups) >= len(used):
            cuts = np.searchsorted(of_group, np.arange(len(used)))
            for i in range(1, len(used)):
                cuts[i] = max(cuts[i - 1] + 1, min(int(cuts[i]), len(groups) - len(used) + i))
            of_group = np.searchsorted(cuts, np.arange(len(groups)), side="right") - 1
        number = of_group[place]
    return np.array([SPLITS.index(split) for split in used], dtype=np.int8)[number]


def digest(value: object) -> str:
    """Hash a value that can be written as JSON: 12 hexadecimal digits."""
    encoded = json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.blake2b(encoded, digest_size=6).hexdigest()
