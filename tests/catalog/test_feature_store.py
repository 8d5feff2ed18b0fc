"""The feature store: content is found again, first stored stays, damage is never read."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fashret.catalog.feature_store import FeatureStore, StoredFeatures, content_digests
from fashret.errors import CatalogError

TEXTS = [f"text {number}" for number in range(10)]
DIGESTS = content_digests(text.encode() for text in TEXTS)
FEATURES = np.random.default_rng(0).standard_normal((10, 6)).astype(np.float32)


def store(tmp_path: Path, dtype: str = "float32") -> FeatureStore:
    return FeatureStore.create(tmp_path / "store" / "text", 6, dtype, {"kind": "text"})


def test_what_is_stored_is_found_by_its_content_alone(tmp_path: Path) -> None:
    one = store(tmp_path)
    assert one.find(DIGESTS).tolist() == [-1] * 10
    one.append(DIGESTS[[4, 2]], FEATURES[[4, 2]])
    one.append(DIGESTS[[7]], FEATURES[[7]])
    again = FeatureStore(one.folder)
    assert again.find(DIGESTS).tolist() == [-1, -1, 1, -1, 0, -1, -1, 2, -1, -1]
    assert again.find(DIGESTS[[7, 7]]).tolist() == [2, 2]
    assert np.array_equal(again.read().numpy(), FEATURES[[4, 2, 7]])
    assert again.verify() == 0
    assert len(again) == 3


def test_half_precision_is_stored_as_such(tmp_path: Path) -> None:
    half = store(tmp_path, "float16")
    half.find(DIGESTS)
    half.append(DIGESTS, FEATURES)
    assert half.read().dtype == torch.float16
    assert np.array_equal(half.read().numpy(), FEATURES.astype(np.float16))
    assert half.row_bytes == 6 * 2 + 20
    size = sum((half.folder / name).stat().st_size for name in ("vectors.bin", "keys.bin"))
    assert size == 10 * half.row_bytes


def test_what_another_process_stored_first_stays(tmp_path: Path) -> None:
    one, other = store(tmp_path), store(tmp_path)
    assert (one.find(DIGESTS) == other.find(DIGESTS)).all()
    other.append(DIGESTS[:3], FEATURES[:3])
    assert one.still_missing(DIGESTS[2:5]).tolist() == [False, True, True]
    one.append(DIGESTS[2:5], FEATURES[2:5] + 1.0)
    third = FeatureStore(one.folder)
    assert third.find(DIGESTS).tolist() == [0, 1, 2, 3, 4] + [-1] * 5
    assert np.array_equal(
        third.read().numpy(), FEATURES[:5] + np.float32([[0], [0], [0], [1], [1]])
    )
    other.append(DIGESTS[4:6], FEATURES[4:6])
    assert FeatureStore(one.folder).find(DIGESTS[:6]).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("cut", [1, 19, 20, 21])
def test_a_write_that_was_cut_off_is_replaced(tmp_path: Path, cut: int) -> None:
    one = store(tmp_path)
    one.append(DIGESTS[:4], FEATURES[:4])
    keys = one.folder / "keys.bin"
    keys.write_bytes(keys.read_bytes()[:-cut])  # killed while it wrote the keys
    left = 3 if cut <= 20 else 2
    again = FeatureStore(one.folder)
    assert len(again) == left
    assert again.find(DIGESTS[:4]).tolist() == [0, 1, 2, -1][:left] + [-1] * (4 - left)
    again.append(DIGESTS[5:7], FEATURES[5:7])
    third = FeatureStore(one.folder)
    assert np.array_equal(third.read().numpy(), np.vstack([FEATURES[:left], FEATURES[5:7]]))
    assert third.verify() == 0


def test_damaged_rows_are_not_read_and_are_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = store(tmp_path)
    one.append(DIGESTS, FEATURES)
    path = one.folder / "vectors.bin"
    damaged = bytearray(path.read_bytes())
    damaged[3 * 24 + 5] ^= 1
    path.write_bytes(damaged[: 9 * 24])  # one bit of row 3, and all of row 9
    again = FeatureStore(one.folder)
    assert again.verify() == 2
    assert len(again.read()) == 9
    assert again.find(DIGESTS).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, -1]  # the file's end is seen
    again.check(DIGESTS)
    assert again.find(DIGESTS).tolist() == [0, 1, 2, -1, 4, 5, 6, 7, 8, -1]
    assert "1 features differ from their checksums and are encoded again" in caplog.text
    again.append(DIGESTS[[3, 9]], FEATURES[[3, 9]])
    third = FeatureStore(one.folder)
    assert third.find(DIGESTS).tolist() == list(range(10))
    assert np.array_equal(third.read().numpy(), FEATURES)
    assert third.verify() == again.verify() == 0


def test_a_row_belongs_to_its_key(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.append(DIGESTS[:4], FEATURES[:4])
    path = one.folder / "vectors.bin"
    path.write_bytes(FEATURES[[1, 0, 2, 3]].tobytes())  # whole vectors, exchanged
    again = FeatureStore(one.folder)
    again.check(DIGESTS[:4])
    assert again.find(DIGESTS[:4]).tolist() == [-1, -1, 2, 3]


def test_a_sample_that_differs_has_all_rows_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fashret.catalog.feature_store._SAMPLE", 5)
    one = store(tmp_path)
    one.append(DIGESTS, FEATURES)
    (one.folder / "vectors.bin").write_bytes(bytes(10 * 24))
    again = FeatureStore(one.folder)
    again.check(DIGESTS)
    assert again.find(DIGESTS).tolist() == [-1] * 10


def test_damage_that_one_process_found_is_mended_by_another(tmp_path: Path) -> None:
    """The process that encodes a share is not the one that compared the checksums."""
    one = store(tmp_path)
    one.append(DIGESTS, FEATURES)
    (one.folder / "vectors.bin").write_bytes(bytes(10 * 24))
    first, other = FeatureStore(one.folder), FeatureStore(one.folder)
    first.check(DIGESTS)
    other.damaged |= first.damaged
    assert other.still_missing(DIGESTS).all()
    other.append(DIGESTS, FEATURES)
    third = FeatureStore(one.folder)
    third.check(DIGESTS)
    assert third.find(DIGESTS).tolist() == list(range(10))
    assert len(third) == 10
    assert np.array_equal(third.read().numpy(), FEATURES)


def test_a_store_that_is_removed_is_not_begun_again_by_a_writer(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.append(DIGESTS[:2], FEATURES[:2])
    (one.folder / "store.json").unlink()
    with pytest.raises(CatalogError, match="was removed while it is used: start again"):
        one.append(DIGESTS[2:4], FEATURES[2:4])


def test_opening_a_store_takes_nothing_for_another_processs_work(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.append(DIGESTS, FEATURES)
    assert FeatureStore(one.folder).still_missing(DIGESTS).all()


def test_what_is_no_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="is not a feature store"):
        FeatureStore(tmp_path)
    one = store(tmp_path)
    about = json.loads((one.folder / "store.json").read_text())
    assert about["kind"] == "text"
    (one.folder / "store.json").write_text(json.dumps(about | {"format": 9}))
    with pytest.raises(CatalogError, match="format 9, this version reads format 1: fashret cache"):
        FeatureStore(one.folder)


def test_a_store_that_cannot_be_written_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = store(tmp_path)
    one.append(DIGESTS[:2], FEATURES[:2])

    def full(self: FeatureStore, name: str, offset: int, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FeatureStore, "_write", full)
    with pytest.raises(CatalogError, match="No space left on device; what was stored before is"):
        one.append(DIGESTS[2:4], FEATURES[2:4])
    assert FeatureStore(one.folder).find(DIGESTS[:4]).tolist() == [0, 1, -1, -1]


def test_rows_of_a_table_are_joined_with_the_store() -> None:
    vectors = torch.from_numpy(FEATURES)
    joined = StoredFeatures(vectors, np.array([3, 3, 0, 9]))
    assert len(joined) == 4
    assert joined.shape == (4, 6)
    assert torch.equal(joined[torch.tensor([1, 3])], vectors[[3, 9]])
    assert torch.equal(joined[slice(1, 3)], vectors[[3, 0]])
    assert torch.equal(joined[2], vectors[0])
    without = StoredFeatures(vectors, np.array([-1, 4, -1]))
    expected = torch.stack([torch.zeros(6), vectors[4], torch.zeros(6)])
    assert torch.equal(without[:], expected)
    assert torch.equal(without[torch.tensor([2, 1])], expected[[2, 1]])
    empty = StoredFeatures(vectors[:0], np.array([-1, -1]))
    assert torch.equal(empty[:], torch.zeros(2, 6))


@pytest.mark.run
def test_writers_that_are_killed_lose_their_batch_alone(tmp_path: Path) -> None:
    """Four processes write one store and are killed 20 times; see support/store_writers.py."""
    command = [sys.executable, "-m", "support.store_writers", str(tmp_path)]
    paths = str(Path(__file__).parents[1]), str(Path(__file__).parents[2])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={"PYTHONPATH": ":".join(paths)}
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["kills"] == 20
    assert counts["interrupted"] >= 10  # most of them came before all was stored
    assert counts["stored"] == counts["contents"]
    assert counts["different"] == counts["wrong"] == 0
    # Of each writer a batch is lost by each kill, at most; the others' batches are not encoded.
    assert counts["contents"] <= counts["encoded"]
    assert counts["encoded"] <= counts["contents"] + 20 * 4 * counts["batch"]
