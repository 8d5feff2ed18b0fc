"""Detection of duplicate photos: files of equal bytes, and photos that were encoded or resized."""

import logging
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import imagehash
import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from fashret.data.preparation_report import Report
from fashret.data.product_grouping import STATED

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


def signature(photo: Image.Image) -> bytes:
    """Compute the signature by which a photo's copies are found, SIGNATURE_BYTES long.

    Args:
        photo: the decoded photo, upright RGB.
    """
    small = photo.resize((64, 64), Image.Resampling.BILINEAR, reducing_gap=2.0)
    perceptual = np.packbits(imagehash.phash(small).hash)
    thumbnail = small.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return perceptual.tobytes() + thumbnail.tobytes()


def find_copies(photo_hashes: Sequence[str], signatures: Sequence[bytes]) -> _Rows:
    """Find the first copy of each photo.

    Photos are copies where their bytes are equal, or where their perceptual hashes and their
    thumbnails differ little. Each copy is compared with the first one itself, so that a chain of
    small differences does not join photos that differ much. Signatures that may be close are found
    exactly: hashes that differ in d bits at most agree in one of d + 1 bands.

    Args:
        photo_hashes: hashes of N photos' bytes.
        signatures: signatures of the same photos.

    Returns:
        (N,) long row of each photo's first copy; its own row for a photo without copies.
    """
    if not photo_hashes:
        return np.empty(0, dtype=np.int64)
    first, inverse = np.unique(np.array(photo_hashes), return_index=True, return_inverse=True)[1:]
    rows = np.sort(first)
    encoded = b"".join(signatures[row] for row in rows)
    distinct = np.frombuffer(encoded, dtype=np.uint8).reshape(len(rows), SIGNATURE_BYTES)
    hashes = distinct[:, :8].copy().view(np.uint64).ravel()
    leader = _leaders(hashes, distinct[:, 8:])
    return rows[leader[np.searchsorted(rows, first)]][inverse]


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
    item_ids: Sequence[str],
    products: Sequence[str | None],
    confidences: Sequence[float],
    photos: _Rows,
    max_group_size: int,
    *,
    fixed: Sequence[bool],
) -> tuple[list[str | None], list[float]]:
    """Join the products of items whose photos are copies; stated products do not change.

    Args:
        item_ids: ids of N items.
        products: product of each item, None where there is none.
        confidences: confidence of each product, 0 to 1; those that the data set states are 1.
        photos: (N,) long codes of photos, equal for copies.
        max_group_size: a photo of more items is a placeholder, which shows no product.
        fixed: whether an item's product, or that it has none, must not change.

    Returns:
        The product and its confidence of each item.
    """
    shown = np.bincount(photos)[photos]
    graph: nx.Graph[tuple[str, str | int]] = nx.Graph()
    nodes: dict[int, tuple[str, str | int]] = {}
    for row, (product, confidence) in enumerate(zip(products, confidences, strict=True)):
        if not fixed[row] and (product is None or confidence < STATED):
            nodes[row] = ("item", row) if product is None else ("product", product)
            if 1 < shown[row] <= max_group_size:
                graph.add_edge(nodes[row], ("photo", int(photos[row])))
    named: dict[tuple[str, str | int], str] = {}
    for component in nx.connected_components(graph):
        rows = [int(name) for kind, name in component if kind == "item"]
        names = [str(name) for kind, name in component if kind == "product"]
        if len(rows) + len(names) > 1:
            name = min(names) if names else f"copies of {item_ids[min(rows)]}"
            named |= dict.fromkeys(component, name)
    joined, joined_confidences = list(products), list(confidences)
    for row, node in nodes.items():
        if node in named:
            joined[row], joined_confidences[row] = named[node], COPIED
    return joined, joined_confidences


def report_copies(
    item_ids: Sequence[str],
    products: Sequence[str | None],
    splits: Sequence[str],
    photos: _Rows,
    report: Report,
) -> None:
    """Count photos with copies in the report, and warn if there are copies in different splits.

    Args:
        item_ids: ids of N items.
        products: product of each item, None where there is none.
        splits: split of each item.
        photos: (N,) long codes of photos, equal for copies.
        report: the report that gets the section `photo_copies`.
    """
    items = pd.DataFrame(
        {"item_id": item_ids, "product": products, "split": splits, "photo": photos}
    )
    by_photo = items.groupby("photo")
    copied = by_photo["item_id"].transform("size") > 1
    items["products"] = by_photo["product"].transform("nunique")
    items["splits"] = by_photo["split"].transform("nunique")
    crossing = copied & ((items["splits"] > 1) | (items["products"] > 1))
    shown = pd.concat([items[crossing], items[copied & ~crossing]])
    report.photo_copies = {
        "groups": int(items.loc[copied, "photo"].nunique()),
        "items": int(copied.sum()),
        "across_products": int((items["products"] > 1).sum()),
        "across_splits": items.loc[items["splits"] > 1, "split"].value_counts().to_dict(),
        "examples": [
            {
                "items": group["item_id"].head(_NAMED).tolist(),
                "products": sorted(group["product"].dropna().unique())[:_NAMED],
                "splits": sorted(group["split"].unique()),
            }
            for _, group in islice(shown.groupby("photo", sort=False), _EXAMPLES)
        ],
    }
    if parts := [*_crossing_splits(items), *_placeholders(items)]:
        log.warning("copies of photos: %s (photo_copies in report.json)", "; ".join(parts))


def _crossing_splits(items: pd.DataFrame) -> Iterator[str]:
    """Describe how many photos of a split are also in another one, or are of several products."""
    for split, other in (("validation", "train"), ("test", "train"), ("test", "validation")):
        in_split = items[items["split"] == split]
        copies = in_split[in_split["photo"].isin(items.loc[items["split"] == other, "photo"])]
        if len(copies):
            called = "training" if other == "train" else other
            foreign = int((copies["products"] > 1).sum())
            part = f"{len(copies)} of {len(in_split)} {split} photos are also {called} photos"
            if foreign:
                part += (
                    " of other products"
                    if foreign == len(copies)
                    else (f", {foreign} of them of other products")
                )
            yield part
    within = int(((items["products"] > 1) & (items["splits"] == 1)).sum())
    if within:
        yield f"{within} items show the photo of another product of their split"


def _placeholders(items: pd.DataFrame) -> Iterator[str]:
    """Describe the splits in which more than half of the items have the same photo."""
    for split, inside in items.groupby("split", sort=False):
        counts = inside["photo"].value_counts()
        if counts.iloc[0] > max(1, len(inside) / 2):
            item = inside.loc[inside["photo"] == counts.index[0], "item_id"].iloc[0]
            yield (
                f"{counts.iloc[0]} of {len(inside)} {split} photos are one photo, such as that of "
                f"item {item}: a placeholder picture shows no product"
            )


def _leaders(hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8]) -> _Rows:
    """Find the first photo that each photo is a copy of, (N,) long rows."""
    thumbs = _Thumbnails(thumbnails)
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
    """The thumbnails of N photos, compared in pairs.

    Args:
        pixels: (N, 192) uint8 RGB.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._pixels = pixels.reshape(-1, _SIDE, _SIDE, 3)
        self._means = self._pixels.mean(axis=(1, 2), dtype=np.float32) @ _YCBCR.T

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
            close[close] = _close(self._pixels[a[close]], self._pixels[b[close]])
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
