"""Fashion200k (Han et al., ICCV 2017)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

from fashret.data.on_disk import OnDisk
from fashret.data.preparation_report import Report
from fashret.data.source import Item

_KINDS = ("dress", "jacket", "pants", "skirt", "top")


@dataclass(kw_only=True)
class Fashion200k(OnDisk):
    """Photos with a short description each, in the official train and test.

    The product is the folder that its photos share; the text is the description of the label
    file; the category is the kind whose file names the photo.
    """

    name: str = "fashion200k"
    address: ClassVar[str] = "https://github.com/xthan/fashion-200k"
    layout: ClassVar[str] = "labels/<kind>_<train or test>_detect_all.txt and women/"
    photos: ClassVar[str] = "women"
    tables: ClassVar[tuple[str, ...]] = ("labels/*.txt",)

    def items(self, report: Report) -> Iterator[Item]:
        """A row of the label files an item."""
        root = self.folder()
        self.file("labels")
        for kind in _KINDS:
            for split in ("train", "test"):
                path = self.optional(f"labels/{kind}_{split}_detect_all.txt")
                if path is None:
                    report.expect(f"files labels/{kind}_{split}_detect_all.txt", 1, 0)
                    continue
                with path.open(encoding="utf-8") as file:
                    for number, line in enumerate(file, start=1):
                        if not line.strip():
                            continue
                        report.rows_in += 1
                        where = f"{path.name} line {number}"
                        fields = line.rstrip("\n").split("\t")
                        if len(fields) < 3:
                            report.drop("too few fields", f"{where}: {line.strip()[:80]}")
                            continue
                        name, _, text = fields[:3]
                        parts = PurePosixPath(name).parts
                        yield Item(
                            item_id=name,
                            image=root / name,
                            text=text,
                            category=kind,
                            product_id=parts[-2] if len(parts) > 1 else None,
                            attributes={"gender": self.stated("gender", parts[0])},
                            split=split,
                            origin=where,
                        )
