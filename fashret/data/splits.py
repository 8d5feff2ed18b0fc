"""Which items are trained on, and which are held out."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

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
"""The names of splits that are understood, in any case, also as `test_set` or `images-train`.
Queries and gallery are the test split."""

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
    """Read the names of what a data set is divided into.

    Args:
        names: of folders or of a set's splits.
        given: what the user says that names mean; null leaves one out.
        where: what is divided, for the message.

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
                raise DataError(f"data.split_names.{name}={meant}: this is no name of a split")
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
    """The split of a group of items: a fixed hash of its name and the seed, against the shares.

    It does not depend on what else is in the set: what was held out of a part stays held out of
    the whole.
    """
    return _split_at(digest([seed, group]), shares)


def _split_at(place: str, shares: Mapping[str, float]) -> str:
    """The split of a digest."""
    share = int(place, 16) / 2**48  # within 0 and 1
    used = [split for split in SPLITS if shares.get(split, 0.0) > 0.0]
    cuts = np.cumsum([shares[split] for split in used])[:-1]
    return used[int(np.searchsorted(cuts, share, side="right"))]


def assign_splits(groups: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Give every group of items to a split, as `split_of` does, but leave none empty.

    Args:
        groups: the group of each item.
        shares: of each split, adding up to 1.
        seed: of the hash.

    Returns:
        The split of each group. In a set so small that a split stays empty, the groups that are
        nearest to it by their hash are given to it.
    """
    places = {name: digest([seed, name]) for name in set(groups)}
    names = sorted(places, key=places.__getitem__)
    splits = [_split_at(places[name], shares) for name in names]
    used = [split for split in SPLITS if shares.get(split, 0.0) > 0.0]
    if len(names) >= len(used):
        cuts = np.searchsorted([SPLITS.index(s) for s in splits], [SPLITS.index(u) for u in used])
        for i in range(1, len(used)):
            cuts[i] = max(cuts[i - 1] + 1, min(int(cuts[i]), len(names) - len(used) + i))
        numbers = np.searchsorted(cuts, np.arange(len(names)), side="right") - 1
        splits = [used[number] for number in numbers]
    return dict(zip(names, splits, strict=True))


def digest(value: object) -> str:
    """A short name for a value that JSON can hold."""
    encoded = json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.blake2b(encoded, digest_size=6).hexdigest()
