"""Batches of items: photos decoded by workers, or stored features sliced by index."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fashret.data.augment import Augment
from fashret.data.caption_templates import CaptionTable
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.data.photos import decode_photo
from fashret.functional.similarity import Vectors
from fashret.loading.samplers import RowBatches, Rows
from fashret.types import Batch


class PhotoDataset(Dataset[Batch]):
    """Photos and tokens, a batch at a time.

    Args:
        table: the items.
        codes: of the table.
        transform: a photo to a (3, H, W) tensor.
        tokens: (captions, L) tokens of the distinct texts, in the order of their codes; None for
            photos alone.
        augment: how training photos are varied; None shows them as they are.
        captions: what is said of training photos, whose texts then are these; None says their own.
        tokenize: texts to (B, L) tokens, for captions that leave out words.
        seed: of that variation.
        least: pixels that are enough of a photo's shorter side; None decodes all there is.
    """

    def __init__(
        self,
        table: ItemTable,
        codes: ItemCodes,
        transform: Callable[[Any], Tensor],
        tokens: Tensor | None = None,
        *,
        augment: Augment | None = None,
        captions: CaptionTable | None = None,
        tokenize: Callable[[Sequence[str]], Tensor] | None = None,
        seed: int = 0,
        least: int | None = None,
    ) -> None:
        self.least = least
        self.table = table
        self.codes = codes
        self.transform = transform
        self.tokens = tokens
        self.augment = augment
        self.captions = captions
        self.tokenize = tokenize
        self.seed = seed

    def __len__(self) -> int:
        return len(self.table)

    def __getitems__(self, place: Rows) -> Batch:
        """The items of one batch."""
        batch = self.codes.batch(torch.from_numpy(place.rows))
        if self.captions is not None:
            self._state(batch, self.captions, place)
        photos = [self._photo(row, place.epoch) for row in place.rows.tolist()]
        batch["images"] = torch.stack(photos)
        if self.tokens is not None:
            # An item without text is shown the first one's tokens; its code keeps it out.
            batch["tokens"] = self._tokens(self.tokens, batch["caption"].clamp(min=0), place)
        return batch

    def _tokens(self, tokens: Tensor, caption: Tensor, place: Rows) -> Tensor:
        """(B, L) tokens of the captions, without the words that are left out this time."""
        if self.captions is None or self.tokenize is None or not self.captions.drop:
            return tokens[caption]
        rows = zip(caption.tolist(), place.rows.tolist(), strict=True)
        seed = f"{self.seed}-{place.epoch}"
        return self.tokenize([self.captions.worded(code, f"{seed}-{row}") for code, row in rows])

    def _state(self, batch: Batch, captions: CaptionTable, place: Rows) -> None:
        """Choose what is said of each item this time."""
        seed = f"{self.seed}-{place.epoch}"
        stated = [captions.choose(row, f"{seed}-{row}") for row in place.rows.tolist()]
        batch["caption_choice"] = torch.tensor(stated)
        batch["caption_candidates"] = torch.from_numpy(captions.codes[place.rows])
        batch["caption"] = batch["caption_candidates"].gather(1, batch["caption_choice"][:, None])[
            :, 0
        ]

    def _photo(self, row: int, epoch: int) -> Tensor:
        photo = decode_photo(self.table.photo(row), least=self.least)
        if self.augment is not None:
            photo = self.augment(photo, f"{self.seed}-{epoch}-{row}")
        return self.transform(photo)


class CaptionDataset(Dataset[Batch]):
    """Tokens of distinct texts, a batch at a time; rows are their codes."""

    def __init__(
        self, captions: Sequence[str], tokenize: Callable[[Sequence[str]], Tensor]
    ) -> None:
        self.captions = captions
        self.tokenize = tokenize

    def __len__(self) -> int:
        return len(self.captions)

    def __getitems__(self, place: Rows) -> Batch:
        """The texts of one batch."""
        texts = [self.captions[code] for code in place.rows.tolist()]
        return Batch(index=torch.from_numpy(place.rows), tokens=self.tokenize(texts))


class BatchLoader(DataLoader[Batch]):
    """Makes batches in worker processes, in the order that a sampler gives.

    Args:
        dataset: whose `__getitems__` makes a whole batch of `Rows`.
        batches: yields the rows of each batch.
        num_workers: processes that make them; 0 makes them here.
    """

    def __init__(
        self,
        dataset: Dataset[Batch],
        batches: RowBatches,
        *,
        num_workers: int,
    ) -> None:
        super().__init__(
            dataset,
            batch_sampler=batches,  # type: ignore[arg-type]  # a batch is `Rows`, not a list
            num_workers=num_workers,
            collate_fn=_as_is,  # type: ignore[arg-type]  # __getitems__ makes a whole batch
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),  # a GPU then fetches a batch while it computes
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # a generator is an iterator
        """Start the workers when the first batch is asked for.

        Lightning asks for iterators that it does not use, and before it has set the epoch.
        """
        yield from super().__iter__()


class FeatureLoader:
    """Slices stored features by the rows of each batch.

    Args:
        codes: of the table.
        image: (N, F) stored image features.
        text: (N, G) stored text features.
        sampler: yields the rows of each batch.
    """

    batch_sampler = None  # Lightning looks for one on every loader with a sampler

    def __init__(
        self,
        codes: ItemCodes,
        image: Vectors,
        text: Vectors,
        sampler: RowBatches,
    ) -> None:
        self.codes = codes
        self.image = image
        self.text = text
        self.sampler = sampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        return map(self._slice, self.sampler)

    def _slice(self, place: Rows) -> Batch:
        rows = torch.from_numpy(place.rows)
        batch = self.codes.batch(rows)
        batch["image_features"] = self.image[rows]
        batch["text_features"] = self.text[rows]
        return batch


def tokenized(
    tokenize: Callable[[Sequence[str]], Tensor], captions: Sequence[str], *, chunk: int = 4096
) -> Tensor:
    """(len(captions), L) int32 tokens; one row of zeros if there is no caption at all."""
    parts = [
        tokenize(captions[start : start + chunk]).to(torch.int32)
        for start in range(0, len(captions), chunk)
    ]
    return torch.cat(parts) if parts else tokenize([""]).to(torch.int32)


def _as_is(batch: Batch) -> Batch:
    return batch
