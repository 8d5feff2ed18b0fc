"""DeepFashion In-shop Clothes Retrieval (Liu et al., CVPR 2016)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from fashret.data.on_disk import OnDisk, read_json, read_list
from fashret.data.preparation_report import Report
from fashret.data.source import Item
from fashret.errors import DataError

_ROLES = {"train": None, "query": "query", "gallery": "gallery"}
_SIZES = {"train": (25_882, 3_997), "query": (14_218, 3_985), "gallery": (12_612, 3_985)}
"""Photos and items of the whole set by status."""


@dataclass(kw_only=True)
class DeepFashionInshop(OnDisk):
    """Photos of shop items from several sides, with the official queries and gallery as test.

    The product is the item id, whatever its colour: another colour of the item is a right answer.
    Category and gender are read off the path, the text is the description, the colour and the
    463 attributes are the set's own. Boxes are not used: the protocol searches whole photos, and
    `highres` ones need no box either.

    Args:
        highres: read `img_highres/` instead of `img/` (256 x 256).
    """

    name: str = "deepfashion_inshop"
    highres: bool = False

    address: ClassVar[str] = (
        "http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html (on request)"
    )
    layout: ClassVar[str] = (
        "Eval/list_eval_partition.txt, Anno/ and img/ (or img_highres/), as they are unpacked"
    )
    photos: ClassVar[str] = "img"
    tables: ClassVar[tuple[str, ...]] = ("Eval/*.txt", "Anno/*.json", "Anno/**/*.txt")

    @property
    def photo_folder(self) -> str:
        """Name of the photo folder: `img` or `img_highres`."""
        return "img_highres" if self.highres else self.photos

    def items(self, report: Report) -> Iterator[Item]:
        """A row of the partition an item."""
        root = self.folder()
        partition = self.file("Eval/list_eval_partition.txt", "list_eval_partition.txt")
        texts, item_colours = self._descriptions()
        colours, attributes = self._colours(report), self._attributes(report)
        counts = dict.fromkeys(_ROLES, 0)
        products: dict[str, set[str]] = {status: set() for status in _ROLES}
        for where, (name, product, status) in read_list(partition, 3, report, items=True):
            if status not in _ROLES:
                raise DataError(
                    f"{where}: status '{status}' is none of {', '.join(_ROLES)} in {partition}"
                )
            parts = PurePosixPath(name).parts
            if len(parts) < 5:
                report.drop("a path that is not img/<gender>/<category>/<item>/<photo>", where)
                continue
            counts[status] += 1
            products[status].add(product)
            colour = colours.get(name) or item_colours.get(product, "")
            yield Item(
                item_id=name,
                image=root.joinpath(self.photo_folder, *parts[1:]),
                text=texts.get(product, ""),
                category=parts[2],
                product_id=product,
                attributes={
                    **attributes.get(product, {}),
                    "gender": self.stated("gender", parts[1]),
                    "colour": self.stated("colour", colour) if colour else "unknown",
                },
                split="train" if status == "train" else "test",
                role=_ROLES[status],
                origin=where,
            )
        for status, (photos, items) in _SIZES.items():
            report.expect(f"{status} photos", photos, counts[status])
            report.expect(f"{status} items", items, len(products[status]))

    def _descriptions(self) -> tuple[dict[str, str], dict[str, str]]:
        """Text and colour by item."""
        path = self.optional("Anno/list_description_inshop.json", "list_description_inshop.json")
        texts: dict[str, str] = {}
        colours: dict[str, str] = {}
        for row in [] if path is None else read_json(path):
            said = row.get("description") or ""
            texts[row["item"]] = said if isinstance(said, str) else " ".join(said)
            colours[row["item"]] = str(row.get("color") or "")
        return texts, colours

    def _colours(self, report: Report) -> dict[str, str]:
        path = self.optional("Anno/attributes/list_color_cloth.txt", "Anno/list_color_cloth.txt")
        if path is None:
            return {}
        return {name: colour for _, (name, colour) in read_list(path, 2, report, blanks="last")}

    def _attributes(self, report: Report) -> dict[str, dict[str, str]]:
        """Attributes by item, as the official list states them."""
        names = self.optional("Anno/attributes/list_attr_cloth.txt", "Anno/list_attr_cloth.txt")
        rows = self.optional("Anno/attributes/list_attr_items.txt", "Anno/list_attr_items.txt")
        if names is None or rows is None:
            report.note("no list of official attributes: they are read from the text")
            return {}
        return dict(official_attributes(self, names, rows, 1, report))


def official_attributes(
    source: OnDisk, names: Path, rows: Path, name_fields: int, report: Report
) -> Iterator[tuple[str, dict[str, str]]]:
    """Read the attributes of each item or photo from a DeepFashion list of 1, 0 and -1.

    Args:
        source: the source whose attributes and schema translate the names.
        names: path of the list of the attributes' names.
        rows: path of the list of an id and a number for each attribute.
        name_fields: number of fields in a row of `names`; the name is the first, and may contain
            blanks.
        report: counts broken rows.

    Yields:
        The id, and values by attribute.
    """
    labels = [fields[0] for _, fields in read_list(names, name_fields, report)]
    meanings = source.label_meanings(labels)
    for _, (key, *marks) in read_list(rows, 1 + len(labels), report):
        values: dict[str, str] = {}
        for index, (name, value) in meanings.items():
            if marks[index] == "1":
                values.setdefault(name, value)
        yield key, values
