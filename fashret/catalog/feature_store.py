"""The feature store: the features of one tower, found by the hash of a photo's or a text's bytes.

A store is a folder with two files that only grow. `vectors.bin` has the features, row after row;
`keys.bin` has for each row the hash of what was encoded and a checksum. A writer holds a lock,
appends the vectors first and their keys last: a row without a key does not exist, so that a killed
writer loses its batch and nothing else, and a row of the next writer takes the place. A row whose
checksum differs from its vector is never read: it is encoded again.
"""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashret.errors import CatalogError
from fashret.file_lock import file_lock

log = logging.getLogger(__name__)

FORMAT = 1
DIGEST_BYTES = 16
_KEY = np.dtype([("digest", f"V{DIGEST_BYTES}"), ("checksum", "<u4")])
_DIGEST = pa.binary(DIGEST_BYTES)

_ABOUT = "store.json"
_KEYS = "keys.bin"
_VECTORS = "vectors.bin"

_SAMPLE = 4096
"""Rows whose checksums are compared when a large store is opened for reading."""


Digests = NDArray[np.void]
"""(N,) hashes of contents, each of 16 bytes."""


def content_digests(contents: Iterable[bytes], count: int = -1) -> Digests:
    """Return the hashes under which the features of contents are stored, (N,).

    Args:
        contents: the contents, which are read one at a time.
        count: their number N, where it is known: a large array is then made once.
    """
    hashes = (hashlib.blake2b(each, digest_size=DIGEST_BYTES).digest() for each in contents)
    return np.fromiter(hashes, dtype=f"V{DIGEST_BYTES}", count=count)


class FeatureStore:
    """Features by the hash of their content; several processes may read and write at once.

    Args:
        folder: a folder that `create` made.

    Attributes:
        about: what is known of the store: what encodes its features.
        width: the dimension F of a feature.
        dtype: the dtype of the stored features.
        damaged: rows that are known to differ from their checksums, by hash; `find` leaves them
            out, and `append` writes them again in their places.

    Raises:
        CatalogError: the folder is no store, or of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            about = json.loads((folder / _ABOUT).read_text())
        except (OSError, ValueError) as e:
            raise CatalogError(f"{folder} is not a feature store: {e}") from e
        if about.get("format") != FORMAT:
            raise CatalogError(
                f"{folder} is a feature store of format {about.get('format')}, this version reads "
                f"format {FORMAT}: fashret cache --remove {folder.parent.name}"
            )
        self.about: Mapping[str, Any] = about
        self.width: int = about["width"]
        self.dtype = np.dtype(about["dtype"])
        self._parts: list[NDArray[np.void]] = [np.empty(0, dtype=_KEY)]
        self._count = 0
        self._others: set[bytes] = set()  # what others appended since `find` was last called
        self.damaged: dict[bytes, int] = {}
        self._read_keys(note=False)

    @classmethod
    def create(
        cls, folder: Path, width: int, dtype: str, about: Mapping[str, Any]
    ) -> "FeatureStore":
        """Open the store of a folder, or create it if the folder has none.

        Args:
            folder: the folder of the store.
            width: the dimension F of a feature.
            dtype: float16 or float32.
            about: what encodes the features, for the reader of store.json.

        Raises:
            CatalogError: the folder cannot be written.
        """
        path = folder / _ABOUT
        if not path.exists():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                draft = folder / f"{_ABOUT}.{os.getpid()}"
                settings = {"format": FORMAT, "width": width, "dtype": dtype, **about}
                draft.write_text(json.dumps(settings, indent=2, default=str))
                draft.replace(path)
            except OSError as e:
                raise CatalogError(f"{folder} cannot be written: {e.strerror}") from e
        return cls(folder)

    @staticmethod
    def exists(folder: Path) -> bool:
        """Return whether a folder is a store."""
        return (folder / _ABOUT).exists()

    def __len__(self) -> int:
        return self._count

    @property
    def row_bytes(self) -> int:
        """The bytes that one row takes on disk."""
        return int(self.width * self.dtype.itemsize + _KEY.itemsize)

    def find(self, digests: Digests) -> NDArray[np.int64]:
        """Find rows by the hashes of their contents.

        Args:
            digests: (N,) hashes (`content_digests`).

        Returns:
            (N,) rows of the store; -1 where the content is not stored, or is known to be damaged.
        """
        self._read_keys(note=False)
        self._others.clear()
        found = pc.index_in(_as_arrow(digests), value_set=_as_arrow(self._keys["digest"]))
        rows: NDArray[np.int64] = pc.fill_null(found, -1).to_numpy().astype(np.int64)
        if self.damaged:
            rows[np.isin(rows, list(self.damaged.values()))] = -1
        return rows

    def check(self, digests: Digests) -> None:
        """Compare the checksums of contents that are about to be used.

        Up to 4,096 are compared, and all if one of those differs. Rows that differ are `damaged`
        from then on.

        Args:
            digests: (N,) hashes.
        """
        rows = self.find(digests)
        found = self._sampled_damage(np.unique(rows[rows >= 0]))
        if found:
            log.warning(
                "%s: %d features differ from their checksums and are encoded again",
                self.folder,
                len(found),
            )
            self.damaged |= {self._keys["digest"][row].tobytes(): row for row in found}

    def still_missing(self, digests: Digests) -> NDArray[np.bool_]:
        """Return which contents no other process has stored since `find` did not find them."""
        self._read_keys()
        return np.array([each.tobytes() not in self._others for each in digests], dtype=bool)

    def append(self, digests: Digests, features: NDArray[np.floating[Any]]) -> None:
        """Store features that `find` did not find; what another process stored first stays.

        Args:
            digests: (n,) different hashes of contents.
            features: (n, F) of the store's dtype, finite.

        Raises:
            CatalogError: the disk is full, or the store cannot be written.
        """
        try:
            with file_lock(self.folder / "lock", f"features of {self.folder.parent.name}"):
                if not self.exists(self.folder):
                    raise CatalogError(f"{self.folder} was removed while it is used: start again")
                damaged = [each.tobytes() in self.damaged for each in digests]
                keep = self.still_missing(digests) & ~np.array(damaged, dtype=bool)
                self._repair(digests, features)
                rows = np.ascontiguousarray(features[keep], dtype=self.dtype)
                keys = _keys_of(digests[keep], rows)
                self._write(_VECTORS, len(self) * self.width * self.dtype.itemsize, rows.tobytes())
                self._write(_KEYS, len(self) * _KEY.itemsize, keys.tobytes())
                self._add(keys)
        except OSError as e:
            raise CatalogError(
                f"features cannot be stored in {self.folder}: {e.strerror or e}; what was stored "
                "before is whole, and the next start resumes from there"
            ) from e

    def read(self) -> Tensor:
        """Memory-map the vectors of all rows: (M, F), read-only by convention.

        M is less than the number of rows where the file is cut short; such rows are `damaged`.
        """
        whole = min(len(self), self._whole_vectors())
        if not whole:
            return torch.from_numpy(np.empty((0, self.width), dtype=self.dtype))
        shape = (whole, self.width)
        return torch.from_numpy(np.memmap(self.folder / _VECTORS, self.dtype, "c", shape=shape))

    def sync(self) -> None:
        """Wait until what was stored is on the disk, where a loss of power does not reach it."""
        for name in (_VECTORS, _KEYS):
            if (self.folder / name).exists():
                with (self.folder / name).open("rb") as file:
                    os.fsync(file.fileno())

    def verify(self) -> int:
        """Compare every row with its checksum, and return the number of rows that differ."""
        self._read_keys()
        return len(self._wrong(np.arange(len(self))))

    def _read_keys(self, *, note: bool = True) -> None:
        """Read the keys that others appended since the last call, and note which they are."""
        path = self.folder / _KEYS
        count = path.stat().st_size // _KEY.itemsize if path.exists() else 0
        if count <= len(self):
            return
        with path.open("rb") as file:
            file.seek(len(self) * _KEY.itemsize)
            read = np.frombuffer(file.read((count - len(self)) * _KEY.itemsize), dtype=_KEY)
        if note:
            self._others |= {digest.tobytes() for digest in read["digest"]}
        first, whole = len(self), self._whole_vectors()
        self._add(read)
        if whole < len(self):  # a file that lost its end
            cut = range(max(first, whole), len(self))
            self.damaged |= {self._keys["digest"][row].tobytes(): row for row in cut}

    def _whole_vectors(self) -> int:
        """The number of vectors that the file has room for."""
        path = self.folder / _VECTORS
        size = path.stat().st_size if path.exists() else 0
        return int(size // (self.width * self.dtype.itemsize))

    def _add(self, keys: NDArray[np.void]) -> None:
        self._parts.append(keys)
        self._count += len(keys)

    @property
    def _keys(self) -> NDArray[np.void]:
        """The keys of all rows."""
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def _sampled_damage(self, rows: NDArray[np.int64]) -> list[int]:
        """Compare the checksums of rows, or of a sample of many; all rows if one of it differs."""
        sample = rows
        if len(rows) > _SAMPLE:
            sample = np.random.default_rng().choice(rows, _SAMPLE, replace=False)
        wrong = self._wrong(sample)
        return self._wrong(rows) if wrong and len(sample) < len(rows) else wrong

    def _wrong(self, rows: NDArray[np.int64]) -> list[int]:
        """The rows that differ from their checksums, or lie behind the end of the file."""
        path, whole = self.folder / _VECTORS, self._whole_vectors()
        inside = rows[rows < whole]
        wrong: list[int] = rows[rows >= whole].tolist()
        if len(inside):
            vectors = np.memmap(path, self.dtype, "r", shape=(whole, self.width))
            keys = self._keys
            wrong += [
                int(row)
                for row in inside
                if _checksum(keys["digest"][row], vectors[row]) != keys["checksum"][row]
            ]
        return wrong

    def _repair(self, digests: Digests, features: NDArray[np.floating[Any]]) -> None:
        """Write the features of damaged rows in their places."""
        for i, digest in enumerate(digests):
            row = self.damaged.pop(digest.tobytes(), None)
            if row is not None:
                one = np.ascontiguousarray(features[i : i + 1], dtype=self.dtype)
                self._write(_VECTORS, row * one.nbytes, one.tobytes())
                key = _keys_of(digests[i : i + 1], one)
                self._write(_KEYS, row * _KEY.itemsize, key.tobytes())
                self._keys[row] = key[0]

    def _write(self, name: str, offset: int, content: bytes) -> None:
        """Write at an offset of a file: what a killed writer left behind the last key is replaced.

        Never through a memory map, where a full disk would end the process without a word.
        """
        descriptor = os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o666)
        with os.fdopen(descriptor, "r+b") as file:
            file.seek(offset)
            file.write(content)


class StoredFeatures:
    """The features of a table's rows, joined with a store by the hash of their content.

    Args:
        vectors: (M, F) stored features.
        position: (N,) row of the store for each row of the table; -1 for a feature of zeros, of
            an item without text.
    """

    def __init__(self, vectors: Tensor, position: NDArray[np.int64]) -> None:
        self.vectors = vectors
        self.position = torch.from_numpy(position)
        self._known = None if (position >= 0).all() else self.position >= 0

    def __len__(self) -> int:
        return len(self.position)

    @property
    def shape(self) -> torch.Size:
        """(N, F)."""
        return torch.Size((len(self), self.vectors.shape[1]))

    def __getitem__(self, rows: "slice | int | Tensor") -> Tensor:
        if self._known is None and isinstance(rows, Tensor) and rows.dtype == torch.long:
            # As `self.vectors[self.position[rows]]`, in less time.
            return self.vectors.index_select(0, self.position.index_select(0, rows))
        position = self.position[rows]
        if self._known is None:
            return self.vectors[position]
        known = self._known[rows]
        if not len(self.vectors):
            return self.vectors.new_zeros((*position.shape, self.vectors.shape[1]))
        return self.vectors[position.clamp(min=0)] * known[..., None]


def _as_arrow(digests: Digests) -> pa.FixedSizeBinaryArray:
    buffer = pa.py_buffer(np.ascontiguousarray(digests).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(_DIGEST, len(digests), [None, buffer])


def _keys_of(digests: Digests, rows: NDArray[np.floating[Any]]) -> NDArray[np.void]:
    keys = np.empty(len(digests), dtype=_KEY)
    keys["digest"] = digests
    keys["checksum"] = [_checksum(*pair) for pair in zip(digests, rows, strict=True)]
    return keys


def _checksum(digest: np.void, vector: NDArray[np.floating[Any]]) -> int:
    """The checksum of a row: it binds the vector to its key."""
    return zlib.crc32(vector.tobytes(), zlib.crc32(digest.tobytes()))
