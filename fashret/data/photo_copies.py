"""Detection of duplicate photos: files of equal bytes, and photos that were encoded or resized."""

import logging
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import imagehash
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fashret.data.preparation_report import Report
from fashret.data.product_grouping import STATED, Products
from fashret.data.splits import SPLITS

log = logging.getLogger(__name__)

SIGNATURE_BYTES = 200
"""A perceptual hash of 8 bytes and an RGB thumbnail of 8 x 8 pixels."""

COPIED = 0.99
"""The confidence that unstated products are one, when their photos are copies."""

_SIDE = 8
_MAX_DISTANCE = 4
"""Bits in which the perceptual hashes of copies may differ, of 64."""

_MAX_LUMA, _MAX_CHROMA = 5.0, 2.0
"""Largest difference of a thumbnail's pixel, and of the chroma of 2 x 2 pixels: a photo of the same
garment in another colour has nearly the same perceptual hash."""

_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], dtype=np.float32
)
"""From RGB to luma and chroma."""

_MAX_RELATIVE, _NOISE = 0.07, 5.0
"""Largest difference of thumbnails relative to their contrast, to which noise is added: a tie fills
a tenth of its photo, and two ties differ little over the whole of it."""

_EXAMPLES, _NAMED = 20, 10
"""Photos that the report shows, and items of each that it names."""

_CHUNK = 1 << 22
"""Pairs of hashes that are compared at a time."""

_CANDIDATES = 1 << 16
"""Pairs of thumbnails that are compared at a time."""

_Rows = NDArray[np.int64]
_Codes = NDArray[np.int32]


def signature(photo: Image.Image) -> bytes:
    """Compute the signature by which a photo's copies are found, SIGNATURE_BYTES long.

    Args:
        photo: the decoded photo, upright RGB.
    """
    small = photo.resize((64, 64), Image.Resampling.BILINEAR, reducing_gap=2.0)
    perceptual = np.packbits(imagehash.phash(small).hash)
    thumbnail = small.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return perceptual.tobytes() + thumbnail.tobytes()


def find_copies(contents: _Codes, signatures: NDArray[np.uint8]) -> _Codes:
    """Find the first copy of each photo.

    Photos are copies where their bytes are equal, or where their perceptual hashes and their
    thumbnails differ little. Each copy is compared with the first one itself, so that a chain of
    small differences does not join photos that differ much. Signatures that may be close are found
    exactly: hashes that differ in d bits at most agree in one of d + 1 bands.

    Args:
        contents: (N,) int codes of photos, equal for equal bytes: all from 0 to their largest.
        signatures: (N, SIGNATURE_BYTES) uint8 signatures of the same photos.

    Returns:
        (N,) int row of each photo's first copy; its own row for a photo without copies.
    """
    if not len(contents):
        return np.empty(0, dtype=np.int32)
    first = np.empty(int(contents.max()) + 1, dtype=np.int64)
    first[contents[::-1]] = np.arange(len(contents))[::-1]  # of several rows the last one stays
    rows = np.sort(first)
    leader = _leaders(signatures, rows)
    return rows[leader[np.searchsorted(rows, first)]].astype(np.int32)[contents]


def near_pairs(hashes: NDArray[np.uint64], max_distance: int) -> Iterator[tuple[_Rows, _Rows]]:
    """Find every pair of hashes with a small Hamming distance, once, some pairs at a time.

    Args:
        hashes: (N,) uint64 hashes.
        max_distance: largest number of bits in which a pair may differ.

    Yields:
        (P,) long first and (P,) long second rows of pairs, the first one smaller.
    """
    edges = np.linspace(0, 64, max_distance + 2).astype(int)
    bands = np.stack(
        [
            (hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
            for low, high in pairwise(edges)
        ]
    )
    for number, band in enumerate(bands):
        order = np.argsort(band, kind="stable")
        for run in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            step = max(1, _CHUNK // len(run))
            for start in range(0, len(run) - 1, step):
                part, rest = run[start : start + step], run[start:]
                distance = np.bitwise_count(hashes[part][:, None] ^ hashes[rest])
                a, b = np.nonzero(np.triu(distance <= max_distance, k=1))
                a, b = part[a], rest[b]
                new = (bands[:number, a] != bands[:number, b]).all(axis=0)
                yield a[new], b[new]


def join_copies(
    products: Products,
    photos: _Codes,
    max_group_size: int,
    *,
    fixed: NDArray[np.bool_],
    item_id: Callable[[int], str],
) -> Products:
    """Join the products of items whose photos are copies; stated products do not change.

    Args:
        products: the product of each of N items.
        photos: (N,) int codes of photos, equal for copies, below N.
        max_group_size: a photo of more items is a placeholder, which shows no product.
        fixed: (N,) whether an item's product, or that it has none, must not change.
        item_id: reads the id of an item.

    Returns:
        The products after that: the first by name of those that are joined, or one named after the
        first of the items that had none.
    """
    count, kinds = len(photos), len(products.names)
    shown = np.bincount(photos)[photos]
    movable = ~fixed & (~products.known | (products.confidence < STATED))
    joins = np.flatnonzero(movable & (shown > 1) & (shown <= max_group_size))
    if not len(joins):
        return products
    # A graph of products, of items without one, and of the photos that they show, in this order.
    node = np.where(products.known, products.codes, kinds + np.arange(count))
    ends = np.stack([node[joins], kinds + count + photos[joins]])
    used, ends = np.unique(ends, return_inverse=True)
    first_end, second_end = ends.reshape(2, -1)
    edges = coo_array((np.ones(len(joins)), (first_end, second_end)), shape=(len(used), len(used)))
    component = connected_components(edges, directed=False)[1]
    named = used < kinds + count
    components, first, sizes = np.unique(component[named], return_index=True, return_counts=True)
    leader = np.full(len(used), -1)  # of a component: its first product, or its first item
    leader[components[sizes > 1]] = used[named][first[sizes > 1]]

    place = np.searchsorted(used, node).clip(max=len(used) - 1)
    rows = np.flatnonzero(movable & (used[place] == node))
    to = leader[component[place[rows]]]
    rows, to = rows[to >= 0], to[to >= 0]
    items = np.unique(to[to >= kinds]) - kinds
    added = pa.array([f"copies of {item_id(row)}" for row in items.tolist()], pa.string())
    codes, confidence = products.codes.copy(), products.confidence.copy()
    codes[rows] = np.where(to < kinds, to, kinds + np.searchsorted(items, to - kinds))
    confidence[rows] = COPIED
    return Products(codes, confidence, pa.concat_arrays([products.names, added]))


def report_copies(
    products: Products,
    splits: NDArray[np.int8],
    photos: _Codes,
    report: Report,
    *,
    item_id: Callable[[int], str],
) -> None:
    """Count photos with copies in the report, and warn if there are copies in different splits.

    Args:
        products: the product of each of N items.
        splits: (N,) number of each item's split, in the order of `SPLITS`.
        photos: (N,) int codes of photos, equal for copies, below N.
        report: the report that gets the section `photo_copies`.
        item_id: reads the id of an item.
    """
    copied = np.bincount(photos)[photos] > 1
    foreign = _differ(photos, products.codes, products.known)
    apart = _differ(photos, splits, np.ones(len(splits), dtype=bool))
    crossing = copied & (apart | foreign)
    examples = [*_first_photos(photos, crossing), *_first_photos(photos, copied & ~crossing)]
    report.photo_copies = {
        "groups": len(np.unique(photos[copied])),
        "items": int(copied.sum()),
        "across_products": int(foreign.sum()),
        "across_splits": {
            split: int(number)
            for split, number in zip(SPLITS, np.bincount(splits[apart], minlength=3), strict=True)
            if number
        },
        "examples": [
            {
                "items": [item_id(row) for row in rows[:_NAMED].tolist()],
                "products": sorted(set(products.column(rows).drop_null().to_pylist()))[:_NAMED],
                "splits": sorted(SPLITS[split] for split in np.unique(splits[rows]).tolist()),
            }
            for rows in (np.flatnonzero(photos == photo) for photo in examples[:_EXAMPLES])
        ],
    }
    parts = [
        *_crossing_splits(splits, photos, foreign, apart),
        *_placeholders(splits, photos, item_id),
    ]
    if parts:
        log.warning("copies of photos: %s (photo_copies in report.json)", "; ".join(parts))


def _differ(
    photos: _Codes, codes: NDArray[np.signedinteger[Any]], known: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which items' photos are shown by items with different known codes, (N,) bool."""
    least = np.full(len(photos), np.iinfo(codes.dtype).max, dtype=codes.dtype)
    most = np.full(len(photos), np.iinfo(codes.dtype).min, dtype=codes.dtype)
    np.minimum.at(least, photos[known], codes[known])
    np.maximum.at(most, photos[known], codes[known])
    differ: NDArray[np.bool_] = (least < most)[photos]
    return differ


def _first_photos(photos: _Codes, chosen: NDArray[np.bool_]) -> list[int]:
    """The first photos of some items, in the order of the items."""
    found, first = np.unique(photos[chosen], return_index=True)
    order = np.argsort(first)[:_EXAMPLES]
    return [int(photo) for photo in found[order]]


def _crossing_splits(
    splits: NDArray[np.int8], photos: _Codes, foreign: NDArray[np.bool_], apart: NDArray[np.bool_]
) -> Iterator[str]:
    """Describe how many photos of a split are also in another one, or are of several products."""
    for split, other in (("validation", "train"), ("test", "train"), ("test", "validation")):
        inside, elsewhere = splits == SPLITS.index(split), splits == SPLITS.index(other)
        is_there = np.zeros(len(photos), dtype=bool)
        is_there[photos[elsewhere]] = True
        copies = inside & is_there[photos]
        if number := int(copies.sum()):
            called = "training" if other == "train" else other
            others = int((copies & foreign).sum())
            part = f"{number} of {int(inside.sum())} {split} photos are also {called} photos"
            if others:
                part += (
                    " of other products"
                    if others == number
                    else f", {others} of them of other products"
                )
            yield part
    within = int((foreign & ~apart).sum())
    if within:
        yield f"{within} items show the photo of another product of their split"


def _placeholders(
    splits: NDArray[np.int8], photos: _Codes, item_id: Callable[[int], str]
) -> Iterator[str]:
    """Describe the splits in which more than half of the items have the same photo."""
    for split in np.unique(splits).tolist():
        rows = np.flatnonzero(splits == split)
        counts = np.bincount(photos[rows])
        if counts.max() > max(1, len(rows) / 2):
            row = rows[np.argmax(photos[rows] == counts.argmax())]
            yield (
                f"{counts.max()} of {len(rows)} {SPLITS[split]} photos are one photo, such as that "
                f"of item {item_id(row)}: a placeholder picture shows no product"
            )


def _leaders(signatures: NDArray[np.uint8], rows: _Rows) -> _Rows:
    """Find the first photo that each of some photos is a copy of, (D,) long places in `rows`."""
    hashes = np.ascontiguousarray(signatures[:, :8])[rows].view(np.uint64).ravel()
    thumbs = _Thumbnails(signatures, rows)
    leader = np.arange(len(hashes))
    order = np.argsort(hashes, kind="stable")
    for run in np.split(order, np.flatnonzero(np.diff(hashes[order])) + 1):
        while len(run) > 1:
            near = thumbs.are_copies(np.broadcast_to(run[:1], run.shape), run)
            leader[run[near]] = run[0]
            run = run[~near]
    heads = np.flatnonzero(leader == np.arange(len(leader)))
    firsts, seconds = [heads[:0]], [heads[:0]]
    for a, b in near_pairs(hashes[heads], _MAX_DISTANCE):
        near = thumbs.are_copies(heads[a], heads[b])
        firsts.append(heads[a[near]])
        seconds.append(heads[b[near]])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    order = np.lexsort((second, first))
    target = np.arange(len(hashes))
    for a, b in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if target[a] == a and target[b] == b:
            target[b] = a
    moved = target[leader]
    return np.where(thumbs.are_copies(np.arange(len(hashes)), moved), moved, leader)


class _Thumbnails:
    """The thumbnails of D photos, compared in pairs.

    Args:
        signatures: (N, SIGNATURE_BYTES) uint8 signatures.
        rows: (D,) long rows of the photos.
    """

    def __init__(self, signatures: NDArray[np.uint8], rows: _Rows) -> None:
        self._signatures, self._rows = signatures, rows
        self._means = np.empty((len(rows), 3), dtype=np.float32)
        for start in range(0, len(rows), _CANDIDATES):
            part = np.arange(start, min(start + _CANDIDATES, len(rows)))
            means = self._pixels(part).mean(axis=(1, 2), dtype=np.float32)
            self._means[part] = means @ _YCBCR.T

    def _pixels(self, photos: _Rows) -> NDArray[np.uint8]:
        """(P, 8, 8, 3) uint8 RGB of some of the photos."""
        return self._signatures[self._rows[photos], 8:].reshape(-1, _SIDE, _SIDE, 3)

    def are_copies(self, first: _Rows, second: _Rows) -> NDArray[np.bool_]:
        """Return whether the thumbnails of pairs are of one photo, (P,) bool.

        Args:
            first: (P,) long rows.
            second: (P,) long rows.
        """
        limits = np.array([_MAX_LUMA, _MAX_CHROMA, _MAX_CHROMA]) + 0.01  # a mean differs no more
        near: NDArray[np.bool_] = np.ones(len(first), dtype=bool)
        for start in range(0, len(first), _CANDIDATES):
            part = slice(start, start + _CANDIDATES)
            a, b = first[part], second[part]
            close = (np.abs(self._means[a] - self._means[b]) <= limits).all(axis=1)
            close[close] = _close(self._pixels(a[close]), self._pixels(b[close]))
            near[part] = close
        return near


def _close(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return whether pairs of (P, 8, 8, 3) thumbnails differ little, (P,) bool."""
    first, second = (part.astype(np.float32) @ _YCBCR.T for part in (a, b))
    difference = first - second
    halves = (-1, _SIDE // 2, 2, _SIDE // 2, 2, 2)
    chroma = np.abs(difference[..., 1:].reshape(halves).mean(axis=(2, 4))).max(axis=(1, 2, 3))
    luma = np.abs(difference[..., 0]).max(axis=(1, 2))
    rms = np.sqrt((difference**2).mean(axis=(1, 2)).sum(axis=1))
    contrast = np.sqrt(np.minimum(*(p.var(axis=(1, 2)).sum(axis=1) for p in (first, second))))
    near: NDArray[np.bool_] = rms <= _MAX_RELATIVE * (contrast + _NOISE)
    near &= (luma <= _MAX_LUMA) & (chroma <= _MAX_CHROMA)
    return near
