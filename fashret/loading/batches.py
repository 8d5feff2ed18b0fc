"""Data sets and loaders of batches: photos decoded by workers, or stored features by row."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fashret.data.augment import Augment
from fashret.data.caption_templates import CaptionTable
from fashret.data.codes import ItemCodes
from fashret.data.items import ItemTable
from fashret.data.photos import decode_photo
from fashret.functional.similarity import Vectors
from fashret.loading.samplers import BatchRows
from fashret.types import UNKNOWN, Batch


class PhotoDataset(Dataset[Batch]):
    """Photos and tokens of items, a batch at a time.

    Args:
        table: the item table.
        codes: codes of the table's products, texts and labels; None loads photos alone.
        transform: turns a decoded photo into a (3, H, W) float tensor.
        tokens: (captions, L) tokens of the distinct texts, in the order of their codes; None loads
            photos alone.
        augment: random changes of training photos; None leaves them as they are.
        captions: captions to choose from for each training item; None uses the items' own texts.
        tokenize: turns texts into (B, L) tokens, for captions from which words are dropped.
        seed: seed of augmentation and of the choice of captions.
        min_side: JPEGs may be decoded at reduced size, with at least this many pixels on the
            shorter side; None decodes at full size.
    """

    def __init__(
        self,
        table: ItemTable,
        codes: ItemCodes | None,
        transform: Callable[[Any], Tensor],
        tokens: Tensor | None = None,
        *,
        augment: Augment | None = None,
        captions: CaptionTable | None = None,
        tokenize: Callable[[Sequence[str]], Tensor] | None = None,
        seed: int = 0,
        min_side: int | None = None,
    ) -> None:
        self.min_side = min_side
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

    def __getitems__(self, batch_rows: BatchRows) -> Batch:
        """Load the items of one batch."""
        rows = torch.from_numpy(batch_rows.rows)
        batch = Batch(index=rows) if self.codes is None else self.codes.batch(rows)
        if self.captions is not None:
            self._choose_captions(batch, self.captions, batch_rows)
        photos = [self._photo(row, batch_rows.epoch) for row in batch_rows.rows.tolist()]
        batch["images"] = torch.stack(photos)
        if self.tokens is not None:
            # An item without text gets the first caption's tokens; its code excludes it later.
            batch["tokens"] = self._tokens(self.tokens, batch["caption"].clamp(min=0), batch_rows)
        return batch

    def _tokens(self, tokens: Tensor, caption: Tensor, batch_rows: BatchRows) -> Tensor:
        """Get the (B, L) tokens of captions, without the words that are dropped in this epoch."""
        if self.captions is None or self.tokenize is None or not self.captions.drop:
            return tokens[caption]
        rows = zip(caption.tolist(), batch_rows.rows.tolist(), strict=True)
        seed = f"{self.seed}-{batch_rows.epoch}"
        texts = [self.captions.drop_words(code, f"{seed}-{row}") for code, row in rows]
        return self.tokenize(texts)

    def _choose_captions(self, batch: Batch, captions: CaptionTable, batch_rows: BatchRows) -> None:
        """Choose a caption of each item for this epoch."""
        seed = f"{self.seed}-{batch_rows.epoch}"
        choice = [captions.choose(row, f"{seed}-{row}") for row in batch_rows.rows.tolist()]
        batch["caption_choice"] = torch.tensor(choice)
        batch["caption_candidates"] = torch.from_numpy(captions.codes[batch_rows.rows])
        batch["caption"] = batch["caption_candidates"].gather(1, batch["caption_choice"][:, None])[
            :, 0
        ]

    def _photo(self, row: int, epoch: int) -> Tensor:
        photo = decode_photo(self.table.photo(row), min_side=self.min_side)
        if self.augment is not None:
            photo = self.augment(photo, f"{self.seed}-{epoch}-{row}")
        return self.transform(photo)


class QueryDataset(Dataset[Batch]):
    """Judged queries with items, a batch at a time.

    Args:
        items: the data set of the items.
        inputs: (Q, L) long tokens or (Q, G) float stored features of the queries' texts.
        composed: whether the second half of the items are the queries' reference photos.
    """

    def __init__(self, items: Dataset[Batch], inputs: Tensor, *, composed: bool = False) -> None:
        self.items = items
        self.inputs = inputs
        self.composed = composed

    def __len__(self) -> int:
        return len(self.items)  # type: ignore[arg-type]  # ours have a length

    def __getitems__(self, batch_rows: BatchRows) -> Batch:
        """Load the items of one batch, and the texts of its queries."""
        batch: Batch = self.items.__getitems__(batch_rows)  # type: ignore[attr-defined]  # ours have it
        assert batch_rows.queries is not None
        queries = torch.from_numpy(batch_rows.queries)
        batch["query"] = queries
        batch["asked"] = torch.full((len(batch_rows.rows),), UNKNOWN)
        batch["asked"][: len(queries)] = queries
        if self.composed:
            batch["reference"] = len(queries) + torch.arange(len(queries))
        return batch | query_batch(self.inputs[queries])


def query_batch(inputs: Tensor) -> Batch:
    """Return the texts of queries as a batch: (Q, L) long tokens, or (Q, G) float features."""
    if inputs.is_floating_point():
        return Batch(query_features=inputs)
    return Batch(query_tokens=inputs)


class CaptionDataset(Dataset[Batch]):
    """Tokens of distinct texts, a batch at a time; rows are the codes of the texts.

    Args:
        captions: the distinct texts, in the order of their codes.
        tokenize: turns texts into (B, L) tokens.
    """

    def __init__(
        self, captions: Sequence[str], tokenize: Callable[[Sequence[str]], Tensor]
    ) -> None:
        self.captions = captions
        self.tokenize = tokenize

    def __len__(self) -> int:
        return len(self.captions)

    def __getitems__(self, batch_rows: BatchRows) -> Batch:
        """Tokenize the texts of one batch."""
        texts = [self.captions[code] for code in batch_rows.rows.tolist()]
        return Batch(index=torch.from_numpy(batch_rows.rows), tokens=self.tokenize(texts))


class BatchLoader(DataLoader[Any]):
    """Loads batches in worker processes, in the order of a sampler.

    Args:
        dataset: a data set whose `__getitems__` loads a whole batch.
        batches: the sampler of the rows of each batch.
        num_workers: number of worker processes; 0 loads in the calling process.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batches: Sampler[Any],
        *,
        num_workers: int,
    ) -> None:
        super().__init__(
            dataset,
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=_identity,  # __getitems__ makes a whole batch
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),  # a GPU then fetches a batch while it computes
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator is an iterator
        """Start the workers at the first batch.

        Lightning creates iterators that it never consumes, and before it has set the epoch.
        """
        yield from super().__iter__()


class FeatureDataset(Dataset[Batch]):
    """Stored features of items, a batch at a time.

    Args:
        codes: codes of the table's products, texts and labels.
        image: (N, F) float stored image features.
        text: (N, G) float stored text features; None loads image features alone.
    """

    def __init__(self, codes: ItemCodes, image: Vectors, text: Vectors | None) -> None:
        self.codes = codes
        self.image = image
        self.text = text

    def __len__(self) -> int:
        return len(self.codes.product)

    def __getitems__(self, batch_rows: BatchRows) -> Batch:
        """Select the features of one batch."""
        rows = torch.from_numpy(batch_rows.rows)
        batch = self.codes.batch(rows)
        batch["image_features"] = self.image[rows]
        if self.text is not None:
            batch["text_features"] = self.text[rows]
        return batch


class FeatureLoader:
    """Loads batches of stored features, in the calling process.

    Args:
        dataset: a data set whose `__getitems__` loads a whole batch.
        sampler: the sampler of the rows of each batch.
    """

    batch_sampler = None  # Lightning looks for one on every loader with a sampler

    def __init__(self, dataset: Dataset[Any], sampler: Sampler[Any]) -> None:
        self._dataset = dataset  # Lightning takes what has a `dataset` for a DataLoader
        self.sampler = sampler

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]  # ours have a length

    def __iter__(self) -> Iterator[Any]:
        load: Any = self._dataset
        return map(load.__getitems__, self.sampler)


def tokenize_captions(
    tokenize: Callable[[Sequence[str]], Tensor], captions: Sequence[str], *, chunk: int = 4096
) -> Tensor:
    """Tokenize captions in chunks.

    Args:
        tokenize: turns texts into (B, L) tokens.
        captions: the texts.
        chunk: texts that are tokenized at a time.

    Returns:
        (len(captions), L) int32 tokens; one row, of the empty text, if there is no caption.
    """
    parts = [
        tokenize(captions[start : start + chunk]).to(torch.int32)
        for start in range(0, len(captions), chunk)
    ]
    return torch.cat(parts) if parts else tokenize([""]).to(torch.int32)


def _identity(batch: Any) -> Any:
    return batch
