"""Encode the photos and texts of a table that the feature stores lack."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fashret.catalog.contents import Contents, FeatureStores, Missing
from fashret.catalog.feature_store import Digests, FeatureStore, content_digests
from fashret.catalog.folder import NAMED
from fashret.disk import readable_bytes, require_space
from fashret.errors import CatalogError
from fashret.loading.batches import BatchLoader, CaptionDataset, PhotoDataset
from fashret.loading.samplers import EvaluationSampler
from fashret.models.backbone import Backbone
from fashret.models.oom_retry import OOMSafeEncoder
from fashret.models.retriever import Retriever
from fashret.process_sync import Processes, SingleProcess
from fashret.progress import progress
from fashret.types import Batch

log = logging.getLogger(__name__)

_RATE_AFTER = 3
"""Batches after which the rate of encoding is known."""

_LONG = 30.0
"""Seconds of work from which on its length is said beforehand."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Encodes what the stores lack: a share in each process, every distinct content once.

    A batch is stored when it is encoded: a killed run loses the batch that it works on.

    Args:
        retriever: the model with its towers.
        device: the device of the towers.
        num_workers: worker processes that decode photos and tokenize texts.
        processes: the processes that share the work.
    """

    retriever: Retriever
    device: torch.device | str = "cpu"
    num_workers: int = 0
    processes: Processes = field(default_factory=SingleProcess)

    @property
    def backbone(self) -> Backbone:
        """The towers."""
        backbone = self.retriever.backbone
        assert backbone is not None, "encoding needs towers"
        return backbone

    def encode_table(self, contents: Contents, stores: FeatureStores, missing: Missing) -> None:
        """Encode and store this process's share of the photos and texts that the stores lack.

        Args:
            contents: the contents of the table.
            stores: the stores that get the features.
            missing: what they lack.

        Raises:
            CatalogError: features contain NaN or Inf, the message names their items; the disk is
                full, or too small for all that is missing.
        """
        table = contents.table
        for store, damaged in zip(stores, missing.damaged, strict=True):
            store.damaged |= damaged  # found by the process with rank 0
        if self.processes.global_rank == 0:
            _announce(contents, stores, missing)
        self._encode(
            "photos",
            PhotoDataset(
                table,
                None,
                self.backbone.photo_transform(),
                min_side=self.backbone.min_side,
            ),
            [np.intersect1d(table.rows(split), missing.photos) for split in table.splits],
            stores.image,
            contents.photos,
            name_of=table.item_id,
            of=table.key.rpartition("-")[0],
        )
        texts = contents.captions, contents.texts
        self.encode_texts(*texts, missing.captions, stores.text, of=table.key.rpartition("-")[0])

    def encode_texts(
        self,
        texts: Sequence[str],
        digests: Digests,
        missing: NDArray[np.int64],
        store: FeatureStore,
        *,
        of: str,
    ) -> None:
        """Encode and store this process's share of some texts.

        Shortest first, so that batches are trimmed to few tokens.

        Args:
            texts: the distinct texts.
            digests: (len(texts),) the hash of each text.
            missing: (m,) positions of the texts to encode.
            store: the store that gets the features.
            of: whose texts they are, for the progress bar.

        Raises:
            CatalogError: see `encode_table`.
        """
        lengths = np.fromiter(
            (len(texts[position]) for position in missing), np.int64, len(missing)
        )
        order = np.argsort(lengths, kind="stable")
        self._encode(
            "captions",
            CaptionDataset(texts, self.backbone.tokenize),
            [missing[order]],
            store,
            digests,
            name_of=lambda position: repr(texts[position]),
            of=of,
        )

    def text_features(self, texts: Sequence[str], store: FeatureStore, *, of: str) -> Tensor:
        """Return the features of some texts, encoded where the store lacks them.

        Args:
            texts: Q texts.
            store: the store of the text tower.
            of: whose texts they are, for the progress bar.

        Returns:
            (Q, G) features of the store's dtype.

        Raises:
            CatalogError: see `encode_table`.
        """
        digests = content_digests(text.encode() for text in texts)
        store.check(digests)
        missing = np.flatnonzero(store.find(digests) < 0)
        first = np.unique(digests[missing], return_index=True)[1]
        self.encode_texts(texts, digests, missing[np.sort(first)], store, of=of)
        rows = store.find(digests)
        if (rows < 0).any():
            raise CatalogError(f"{store.folder} was removed while it is used: start again")
        return store.read()[torch.from_numpy(rows)]

    def _encode(
        self,
        kind: str,
        data: Dataset[Batch],
        parts: Sequence[NDArray[np.int64]],
        store: FeatureStore,
        digests: Digests,
        *,
        name_of: Callable[[int], str],
        of: str,
    ) -> None:
        rank, world = self.processes.global_rank, self.processes.world_size
        total = sum(len(part) for part in parts)
        batches = EvaluationSampler(parts, rank=rank, world_size=world)
        if not total or not len(batches):
            return
        backbone, field_name = self.backbone, "images" if kind == "photos" else "tokens"
        tower = OOMSafeEncoder(
            backbone.encode_image if kind == "photos" else backbone.encode_text, self.device
        )
        bar = progress(
            total=total,
            desc=f"encoding {of}" + (f" (by {world} processes)" if world > 1 else ""),
            unit=f" {kind}",
            disable=rank > 0,
        )

        done = 0

        def put(index: Tensor, encoded: Tensor) -> None:
            nonlocal done
            with np.errstate(over="ignore"):  # overflow of float16 becomes Inf
                features = encoded.float().cpu().numpy().astype(store.dtype)
            bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
            if len(bad):
                named = [name_of(row) for row in index[bad[:NAMED]].tolist()]
                raise CatalogError(
                    f"features contain NaN or Inf: {len(bad)} of a batch of {len(encoded)} {kind}, "
                    f"{', '.join(named)}{', ...' if len(bad) > NAMED else ''}; check the "
                    "weights (model.pretrained, run), and use model.precision=float32 and "
                    "catalog.dtype=float32, whose range is wider"
                )
            store.append(digests[index.numpy()], features)
            step = min(len(encoded) * world, total - done)  # the others are about as far
            bar.update(step)
            done += step

        pending: tuple[Tensor, Tensor] | None = None
        began = time.monotonic()
        autocast = torch.autocast(
            torch.device(self.device).type,
            backbone.precision,
            enabled=backbone.precision != torch.float32,
        )
        loader = BatchLoader(data, batches, num_workers=self.num_workers)
        for number, batch in enumerate(loader):
            if number == _RATE_AFTER and rank == 0:
                _say_how_long(kind, done, total, time.monotonic() - began)
            index = batch["index"]
            wanted = torch.from_numpy(store.still_missing(digests[index.numpy()]))
            if not wanted.any():
                continue
            with torch.inference_mode(), autocast:
                encoded = tower(batch[field_name][wanted])
            if pending is not None:  # the GPU computes a batch while the one before is written
                put(*pending)
            pending = index[wanted], encoded
        if pending is not None:
            put(*pending)
        store.sync()
        bar.close()


def _announce(contents: Contents, stores: FeatureStores, missing: Missing) -> None:
    """Say how much is encoded and what disk it takes; raise an error if there is too little."""
    needed = len(missing.photos) * stores.image.row_bytes
    needed += len(missing.captions) * stores.text.row_bytes
    what = f"the features of {len(missing.photos)} photos and {len(missing.captions)} texts"
    require_space(stores.image.folder, needed, what)
    stored = [
        f"{found} {kind}"
        for kind, store, digests in (
            ("photos", stores.image, np.unique(contents.photos)),
            ("texts", stores.text, contents.texts),
        )
        if (found := int((store.find(digests) >= 0).sum()))
    ]
    log.info(
        "encoding %d photos and %d texts, %s of features%s",
        len(missing.photos),
        len(missing.captions),
        readable_bytes(needed),
        f"; {' and '.join(stored)} are stored already" if stored else "",
    )


def _say_how_long(kind: str, done: int, total: int, seconds: float) -> None:
    """Say how long the rest takes, if that is long, at the rate of the first batches."""
    left = (total - done) * seconds / max(done, 1)
    if left >= _LONG:
        log.info(
            "the other %d %s take about %.0f minutes, at %.0f a second",
            total - done,
            kind,
            max(1, left / 60),
            done / seconds,
        )
