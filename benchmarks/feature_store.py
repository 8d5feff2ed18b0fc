"""The feature store: what reading from it, writing to it and looking up in it cost.

    python benchmarks/feature_store.py

- An epoch's shuffled batches, read through the store (rows were stored in another order than the
  table's), against slicing one memory-mapped array with the same rows.
- Encoding photos and texts into the store, against the same encoding with a store that keeps
  nothing: what is left is the cost of hashing, checksums, locks and writing.
- Looking up a million contents, against a Python dictionary of the same hashes.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import drawn
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from measure import Options, Row, alternate, benchmark

from fashret.catalog.contents import Contents, FeatureStores
from fashret.catalog.encode import Encoder
from fashret.catalog.feature_store import FeatureStore, StoredFeatures, content_digests
from fashret.config import build, config_dir
from fashret.data.preparation import prepare
from fashret.models.backbone import load_backbone
from fashret.models.retriever import Retriever

WIDTH, BATCH = 512, 1024


class Forgetful(FeatureStore):
    """A store that keeps nothing of what it is given."""

    def append(self, digests: np.ndarray, features: np.ndarray) -> None:
        """Count alone."""
        self.given = getattr(self, "given", 0) + len(features)


def epoch(scratch: Path, count: int, repeats: int) -> Row:
    """Batches of an epoch."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((count, WIDTH), dtype=np.float32)
    digests = content_digests(str(number).encode() for number in range(count))
    store = FeatureStore.create(scratch / "epoch", WIDTH, "float32", {})
    order = rng.permutation(count)
    for start in range(0, count, 65_536):
        part = order[start : start + 65_536]
        store.append(digests[part], features[part])
    np.save(scratch / "array.npy", features)
    array = torch.from_numpy(np.load(scratch / "array.npy", mmap_mode="c"))
    joined = StoredFeatures(store.read(), store.find(digests))
    rows = torch.from_numpy(rng.permutation(count)).split(BATCH)
    ratio = alternate(
        lambda: sum(float(joined[part][0, 0]) for part in rows),
        lambda: sum(float(array[part][0, 0]) for part in rows),
        repeats,
    )
    assert ratio.found[0] == ratio.found[1]
    what = f"an epoch of {count:,} x {WIDTH}, batches of {BATCH:,}"
    return Row.of(what, "slicing one array", ratio, bound=1.05)


def writing(scratch: Path, count: int, repeats: int) -> Row:
    """Encoding into the store."""
    root = drawn.folder(scratch / "photos", count, (480, 640))
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", overrides=drawn.overrides(root, scratch))
    spec = build(cfg.model)
    table = prepare(build(cfg.data), scratch / "cache")
    retriever = Retriever.from_backbone(load_backbone(spec, scratch)).eval()
    retriever.requires_grad_(False)

    def encode(kind: type[FeatureStore]) -> int:
        folder = scratch / "stores"
        shutil.rmtree(folder, ignore_errors=True)
        made = FeatureStores.create(folder, retriever, "float32", {})
        contents = Contents(table)
        stores = FeatureStores(kind(made.image.folder), kind(made.text.folder))
        missing = stores.missing(contents)
        Encoder(retriever=retriever, num_workers=2).encode_table(contents, stores, missing)
        return len(stores.image)

    ratio = alternate(lambda: encode(FeatureStore), lambda: encode(Forgetful), repeats)
    distinct = len(np.unique(Contents(table).photos))  # a few of the drawn photos are equal
    assert ratio.found == (distinct, 0)
    pace = f"{count / ratio.ours:.0f} against {count / ratio.theirs:.0f} items/s"
    what = f"encoding {count:,} photos of 480 x 640, tiny"
    return Row.of(what, "the same without storing", ratio, bound=1.02, note=pace)


def looking_up(scratch: Path, count: int, repeats: int) -> Row:
    """Finding contents."""
    digests = content_digests(str(number).encode() for number in range(count))
    store = FeatureStore.create(scratch / "keys", 8, "float32", {})
    for start in range(0, count, 65_536):
        part = digests[start : start + 65_536]
        store.append(part, np.zeros((len(part), 8), dtype=np.float32))
    rows = {digest.tobytes(): row for row, digest in enumerate(digests)}
    ratio = alternate(
        lambda: int(store.find(digests)[-1]),
        lambda: int(np.array([rows[digest.tobytes()] for digest in digests])[-1]),
        repeats,
    )
    assert ratio.found[0] == ratio.found[1] == count - 1
    return Row.of(f"finding {count:,} contents", "a dictionary", ratio)


def rows(options: Options) -> Iterator[Row]:
    few = 32 if options.quick else 1
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        yield epoch(scratch, 262_144 // few, 1 if options.quick else 7)
        yield writing(scratch, 2560 // few, 1 if options.quick else 6)
        yield looking_up(scratch, 1_000_000 // few, 1 if options.quick else 3)


if __name__ == "__main__":
    benchmark(rows, __doc__)
