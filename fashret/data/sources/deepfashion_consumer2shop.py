"""DeepFashion Consumer-to-shop Clothes Retrieval (Liu et al., CVPR 2016)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

from fashret.data.on_disk import OnDisk, read_list
from fashret.data.preparation_report import Report
from fashret.data.source import Item
from fashret.data.sources.deepfashion_inshop import official_attributes
from fashret.errors import DataError

_SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(kw_only=True)
class DeepFashionConsumer2Shop(OnDisk):
    """Photos by consumers, the queries, and by shops, the gallery, in the official splits.

    The list is one of pairs, and a photo stands in many: each is an item once. The product is the
    item id; the category is read off the path.
    """

    name: str = "deepfashion_consumer2shop"
    attributes: Sequence[str] = (
        "material",
        "pattern",
        "neckline",
        "sleeve",
        "colour",
    )
    address: ClassVar[str] = (
        "http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/Consumer2ShopRetrieval.html (on request)"
    )
    layout: ClassVar[str] = "Eval/list_eval_partition.txt, Anno/ and img/, as they are unpacked"
    photos: ClassVar[str] = "img"
    tables: ClassVar[tuple[str, ...]] = ("Eval/*.txt", "Anno/**/*.txt")

    def items(self, report: Report) -> Iterator[Item]:
        """The two photos of each pair, each photo once."""
        root = self.folder()
        partition = self.file("Eval/list_eval_partition.txt", "list_eval_partition.txt")
        attributes = self._attributes(report)
        seen: dict[str, str] = {}
        products = set()
        rows = read_list(partition, 4, report, items=True)
        for where, (consumer, shop, product, status) in rows:
            if status not in _SPLITS:
                raise DataError(
                    f"{where}: status '{status}' is none of {', '.join(_SPLITS)} in {partition}"
                )
            report.rows_in += 1  # a row names two photos
            products.add(product)
            for name, role in ((consumer, "query"), (shop, "gallery")):
                if name in seen:
                    again = "" if seen[name] == status else f" in {seen[name]}"
                    report.drop(f"photo of an earlier pair{again}", f"{where}: {name}")
                    continue
                seen[name] = status
                parts = PurePosixPath(name).parts
                yield Item(
                    item_id=name,
                    image=root / name,
                    category=parts[-3] if len(parts) > 3 else "unknown",
                    product_id=product,
                    attributes=attributes.get(product, {}),
                    split=_SPLITS[status],
                    role=role,
                    origin=where,
                )
        report.expect("photos", 239_557, len(seen))
        report.expect("items", 33_881, len(products))

    def _attributes(self, report: Report) -> dict[str, dict[str, str]]:
        names = self.optional("Anno/list_attr_cloth.txt", "Anno/attributes/list_attr_cloth.txt")
        rows = self.optional("Anno/list_attr_items.txt", "Anno/attributes/list_attr_items.txt")
        if names is None or rows is None:
            report.note("no list of official attributes: they are unknown")
            return {}
        return dict(official_attributes(self, names, rows, 2, report))
