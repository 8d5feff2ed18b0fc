"""Four processes that write one feature store and are killed at random moments, 20 times.

    python -m support.store_writers <folder>

Every vector is a function of its content, so that a wrong one is seen. Prints counts as JSON.
"""

import json
import multiprocessing
import os
import random
import sys
import time
from pathlib import Path

import numpy as np

from fashret.catalog.feature_store import FeatureStore, content_digests

KILLS, WRITERS, BATCH, CONTENTS, WIDTH = 20, 4, 16, 40_000, 64


def vectors_of(digests: np.ndarray) -> np.ndarray:
    """(n, WIDTH) float32, drawn from the bytes of each hash."""
    seeds = [np.frombuffer(digest.tobytes(), dtype=np.uint8) for digest in digests]
    return np.stack([np.resize(seed, WIDTH).astype(np.float32) / 7 for seed in seeds])


def write(folder: Path, digests: np.ndarray, writer: int) -> None:
    """Store what is missing of one writer's half of the contents; halves overlap with others'."""
    store = FeatureStore(folder)
    own = digests[writer % 2 :: 2]
    order = np.random.default_rng(writer).permutation(len(own))
    missing = own[order][store.find(own[order]) < 0]
    with (folder.parent / f"encoded-{writer}").open("ab") as encoded:
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            batch = batch[store.still_missing(batch)]
            if len(batch):
                os.write(encoded.fileno(), batch.tobytes())
                store.append(batch, vectors_of(batch))


def main(folder: Path) -> None:
    """Start the writers, kill them, and start them again."""
    digests = content_digests(str(number).encode() for number in range(CONTENTS))
    path = FeatureStore.create(folder / "store", WIDTH, "float32", {}).folder
    context, rng, wrong = multiprocessing.get_context("fork"), random.Random(0), 0
    interrupted = 0
    for kill in range(KILLS + 1):
        writers = [
            context.Process(target=write, args=(path, digests, writer)) for writer in range(WRITERS)
        ]
        for process in writers:
            process.start()
        if kill < KILLS:
            time.sleep(rng.uniform(0.02, 0.12))
            for process in writers:
                process.kill()  # one that is through has ended already
        for process in writers:
            process.join()
            assert kill < KILLS or process.exitcode == 0
        store = FeatureStore(path)
        rows = store.find(digests)
        interrupted += int((rows < 0).any())
        stored = store.read().numpy()[rows[rows >= 0]]
        wrong += (
            int((stored != vectors_of(digests[rows >= 0])).any(axis=1).sum()) if len(stored) else 0
        )
    encoded = sum(p.stat().st_size for p in folder.glob("encoded-*")) // 16
    store = FeatureStore(path)
    print(
        json.dumps(
            {
                "kills": KILLS,
                "interrupted": interrupted,
                "contents": CONTENTS,
                "batch": BATCH,
                "stored": len(store),
                "different": store.verify(),
                "wrong": wrong,
                "encoded": encoded,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
