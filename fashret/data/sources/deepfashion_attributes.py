"""DeepFashion Category and Attribute Prediction (Liu et al., CVPR 2016)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fashret.data.on_disk import OnDisk, read_list
from fashret.data.preparation_report import Report
from fashret.data.source import Item
from fashret.data.sources.deepfashion_inshop import official_attributes
from fashret.errors import ConfigError, DataError

_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_SIZES = {"coarse": 289_222, "fine": 20_000}


@dataclass(kw_only=True)
class DeepFashionAttributes(OnDisk):
    """Photos with one of 50 categories and marks for 1,000 coarse or 26 fine attributes.

    Official marks feed the attribute columns as far as the schema has words for them. Products
    are not known.

    Args:
        annotation: coarse (289,222 photos, 1,000 attributes) or fine (20,000 photos, 26).
    """

    name: str = "deepfashion_attributes"
    attributes: Sequence[str] = (
        "material",
        "pattern",
        "neckline",
        "sleeve",
    )
    annotation: str = "coarse"

    address: ClassVar[str] = (
        "http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/AttributePrediction.html (on request)"
    )
    layout: ClassVar[str] = (
        "Eval/list_eval_partition.txt, Anno_coarse/, Anno_fine/ and img/, as they are unpacked"
    )
    photos: ClassVar[str] = "img"
    tables: ClassVar[tuple[str, ...]] = ("Eval/*.txt", "Anno_*/*.txt")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.annotation not in _SIZES:
            raise ConfigError(
                f"data.annotation={self.annotation}: it must be one of {', '.join(_SIZES)}"
            )

    def identity(self) -> dict[str, Any]:
        """The files, and which marks."""
        return {**super().identity(), "annotation": self.annotation}

    def items(self, report: Report) -> Iterator[Item]:
        """A row of the marks an item."""
        root, folder = self.folder(), f"Anno_{self.annotation}"
        partition = self.file("Eval/list_eval_partition.txt", f"{folder}/list_eval_partition.txt")
        splits = {name: status for _, (name, status) in read_list(partition, 2, report)}
        listed = read_list(self.file(f"{folder}/list_category_cloth.txt"), 2, report)
        kinds = [name for _, (name, _) in listed]
        listed = read_list(self.file(f"{folder}/list_category_img.txt"), 2, report)
        kind_of = {name: kind for _, (name, kind) in listed}
        names = self.file(f"{folder}/list_attr_cloth.txt")
        rows = self.file(f"{folder}/list_attr_img.txt")
        count = 0
        for name, attributes in official_attributes(self, names, rows, 2, report):
            report.rows_in += 1
            count += 1
            status = splits.get(name)
            if status is None:
                report.drop("photo in no split", name)
                continue
            if status not in _SPLITS:
                raise DataError(f"{partition}: status '{status}' of {name} is none of {_SPLITS}")
            kind = kind_of.get(name, "")
            if not kind.isdigit() or not 1 <= int(kind) <= len(kinds):  # ids count from 1
                report.repair("no category of the list: unknown", f"{name}: '{kind}'")
                category = "unknown"
            else:
                category = kinds[int(kind) - 1]
            yield Item(
                item_id=name,
                image=root / name,
                category=category,
                attributes=attributes,
                split=_SPLITS[status],
                origin=f"{rows.name} {name}",
            )
        report.expect(f"photos with {self.annotation} attributes", _SIZES[self.annotation], count)
