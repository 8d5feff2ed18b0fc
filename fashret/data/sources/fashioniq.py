"""FashionIQ (Wu et al., CVPR 2021): photos, and texts on how one photo differs from another."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from fashret.data.judged_queries import Triple
from fashret.data.on_disk import OnDisk, read_json
from fashret.data.preparation_report import Report
from fashret.data.source import Item

KINDS = ("dress", "shirt", "toptee")
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_SUFFIXES = (".jpg", ".png", ".jpeg")


class ComposedQuery(NamedTuple):
    """A composed query: a reference photo, changed as the texts say.

    Attributes:
        kind: dress, shirt or toptee.
        reference: item id of the reference photo.
        texts: two sentences on how the target differs from the reference.
        target: item id of the target; None where it is not published.
    """

    kind: str
    reference: str
    texts: tuple[str, ...]
    target: str | None


@dataclass(kw_only=True)
class FashionIQ(OnDisk):
    """Photos of dresses, shirts and tops in the official splits.

    A photo that is in two kinds is an item in each. The text is what the first pair says whose
    target it is: sentences that compare. Pairs themselves are queries of `protocol=fashioniq`.
    """

    name: str = "fashioniq"
    address: ClassVar[str] = "https://github.com/XiaoxiaoGuo/fashion-iq"
    layout: ClassVar[str] = (
        "captions/cap.<kind>.<split>.json, image_splits/split.<kind>.<split>.json and images/"
    )
    photos: ClassVar[str] = "images"
    tables: ClassVar[tuple[str, ...]] = ("captions/*.json", "image_splits/*.json")

    def items(self, report: Report) -> Iterator[Item]:
        """A name in a split's list an item."""
        root = self.folder()
        self.file("image_splits")
        for kind in KINDS:
            for split, ours in _SPLITS.items():
                path = self.optional(f"image_splits/split.{kind}.{split}.json")
                if path is None:
                    report.expect(f"files {kind}.{split}", 1, 0)
                    continue
                texts: dict[str, str] = {}
                for query in composed_queries(root, kind, split):
                    if query.target is not None:
                        texts.setdefault(query.target, " and ".join(query.texts))
                for name in read_json(path):
                    report.rows_in += 1
                    item_id = f"{kind}/{name}"
                    yield Item(
                        item_id=item_id,
                        image=_photo(root / "images", name),
                        text=texts.get(item_id, ""),
                        category=kind,
                        product_id=str(name),
                        split=ours,
                        origin=f"{path.name} {name}",
                    )

    def composed_triples(self) -> list[Triple]:
        """The pairs whose target is published, their two sentences joined by "and"."""
        return [
            *super().composed_triples(),
            *(
                Triple(query.reference, " and ".join(query.texts), query.target)
                for kind in KINDS
                for split in _SPLITS
                for query in composed_queries(self.folder(), kind, split)
                if query.target is not None
            ),
        ]


def composed_queries(root: Path, kind: str, split: str) -> list[ComposedQuery]:
    """Read the composed queries of a kind in a split; empty if their file does not exist.

    Args:
        root: the data set's folder.
        kind: dress, shirt or toptee.
        split: train, val or test.

    Raises:
        DataError: the file cannot be read as JSON.
    """
    path = root / "captions" / f"cap.{kind}.{split}.json"
    if not path.exists():
        return []
    return [
        ComposedQuery(
            kind,
            f"{kind}/{row['candidate']}",
            tuple(row["captions"]),
            None if row.get("target") is None else f"{kind}/{row['target']}",
        )
        for row in read_json(path)
    ]


def _photo(folder: Path, name: str) -> Path:
    """Find the file of a photo by its possible endings."""
    found = (folder / f"{name}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in found if path.exists()), folder / f"{name}.jpg")
