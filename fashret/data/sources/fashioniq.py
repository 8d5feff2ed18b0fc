"""FashionIQ (Wu et al., CVPR 2021): photos, and what one has that another has not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from fashret.data.on_disk import OnDisk, read_json
from fashret.data.preparation_report import Report
from fashret.data.source import Item

KINDS = ("dress", "shirt", "toptee")
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_SUFFIXES = (".jpg", ".png", ".jpeg")


class Wish(NamedTuple):
    """A composed query: this photo, but as the texts say.

    Attributes:
        kind: dress, shirt or toptee.
        reference: item id of the photo that is asked with.
        texts: two sentences about the wanted one.
        target: item id of the right answer; None where it is kept secret.
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
                said: dict[str, str] = {}
                for wish in wishes(root, kind, split):
                    if wish.target is not None:
                        said.setdefault(wish.target, " and ".join(wish.texts))
                for name in read_json(path):
                    report.rows_in += 1
                    item_id = f"{kind}/{name}"
                    yield Item(
                        item_id=item_id,
                        image=_photo(root / "images", name),
                        text=said.get(item_id, ""),
                        category=kind,
                        product_id=str(name),
                        split=ours,
                        origin=f"{path.name} {name}",
                    )


def wishes(root: Path, kind: str, split: str) -> list[Wish]:
    """The composed queries of a kind in a split (train, val or test); none where the file is not.

    Raises:
        DataError: the file is no JSON.
    """
    path = root / "captions" / f"cap.{kind}.{split}.json"
    if not path.exists():
        return []
    return [
        Wish(
            kind,
            f"{kind}/{row['candidate']}",
            tuple(row["captions"]),
            None if row.get("target") is None else f"{kind}/{row['target']}",
        )
        for row in read_json(path)
    ]


def _photo(folder: Path, name: str) -> Path:
    """The file of a photo, whichever ending it has."""
    found = (folder / f"{name}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in found if path.exists()), folder / f"{name}.jpg")
