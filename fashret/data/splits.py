"""Which items are trained on, and which are held out."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

import numpy as np

SPLITS = ("train", "validation", "test")

_NAMES = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev", "development", "eval", "evaluation"),
    "test": ("test", "testing", "tests", "tst"),
}
_SPLIT_OF = {name: split for split, names in _NAMES.items() for name in names}
SPLIT_NAMES = tuple(_SPLIT_OF)
"""The names of splits that are understood, in any case; `test_set` and `train-images` are too."""

_KIND = re.compile(r"(?<=[a-z])[\s_.-]*(set|split|data|images?|imgs?|photos?)$")
_LIKE_A_SPLIT = re.compile(rf"({'|'.join(SPLIT_NAMES)}|hold[-_ ]?out|unseen)(?![a-z])")


def split_named(label: str) -> str | None:
    """Return the split that a data set's own name for one means: `dev` is validation.

    None if the name is not understood.
    """
    plain = label.strip().casefold()
    return _SPLIT_OF.get(plain) or _SPLIT_OF.get(_KIND.sub("", plain))


def looks_like_split(label: str) -> bool:
    """Return whether a name reads like that of a split, understood or not: `test2`, `holdout`."""
    plain = label.strip().casefold()
    return split_named(label) is not None or _LIKE_A_SPLIT.match(plain) is not None


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
