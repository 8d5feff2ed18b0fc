"""DeepFashion-MultiModal (Jiang et al., Text2Human, SIGGRAPH 2022)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from fashret.data.on_disk import OnDisk, read_json
from fashret.data.preparation_report import Report
from fashret.data.source import Item

_NAME = re.compile(
    r"(?P<product>(?P<gender>[A-Z]+)-(?P<category>.+)-id_\d+)-(?P<variant>\d+)_(?P<pose>.+)\.\w+"
)
_YES_NO = ("no", "yes")
_SHAPES: dict[str, tuple[str, ...]] = {
    "sleeve": ("sleeveless", "short", "medium", "long"),  # 4: not long, which says too little
    "lower_length": ("three_point", "medium_short", "three_quarter", "long"),
    "socks": ("no", "socks", "leggings"),
    "hat": _YES_NO,
    "glasses": ("no", "eyeglasses", "sunglasses", "in_hand_or_clothes"),
    "neckwear": _YES_NO,
    "wrist": _YES_NO,
    "ring": _YES_NO,
    "waist_accessory": ("no", "belt", "has_clothing", "hidden"),
    "neckline": ("v_neck", "square", "round", "high", "collared", "suspenders"),
    "cardigan": ("yes", "no"),  # 0 is yes
    "navel": _YES_NO,
}
"""The columns of the shape list, in order; a number behind the last value says nothing."""

_FABRICS = ("denim", "cotton", "leather", "furry", "knitted", "chiffon", "other")
_PATTERNS = (
    "floral", "graphic", "striped", "solid", "checked", "other", "color_block",
)  # fmt: skip
_PLACES = {"upper": 0, "full": 0, "lower": 1, "outer": 2}
"""The column of the garment that is worn there; a dress is the upper one."""

_WORN = {"Denim": "lower", "Suiting": "outer"}
"""Of the categories that have no noun for a garment in their name."""

_BODY = ("upper", "outer", "full")
_SIZE = 44_096


@dataclass(kw_only=True)
class DeepFashionMultiModal(OnDisk):
    """Photos of people with captions of the outfit and labels by where a garment is worn.

    Gender, category and product are read off the name. Of fabric and pattern the item gets those
    of its own garment, and of neckline and sleeve none where it is worn below. The other shape
    labels are attributes by their names, where `data.attributes` asks for them: lower_length,
    socks, hat, glasses, neckwear, wrist, ring, waist_accessory, cardigan, navel.
    """

    name: str = "deepfashion_multimodal"
    address: ClassVar[str] = "https://github.com/yumingj/DeepFashion-MultiModal"
    layout: ClassVar[str] = (
        "images/, captions.json, labels/shape/shape_anno_all.txt, labels/texture/fabric_ann.txt "
        "and pattern_ann.txt"
    )
    photos: ClassVar[str] = "images"
    tables: ClassVar[tuple[str, ...]] = ("captions.json", "labels/*/*.txt")

    def items(self, report: Report) -> Iterator[Item]:
        """A photo, or a caption of one, an item."""
        folder = self.file("images")
        captions: dict[str, str] = read_json(self.file("captions.json"))
        shapes = self._labels("labels/shape/shape_anno_all.txt", len(_SHAPES), report)
        fabrics = self._labels("labels/texture/fabric_ann.txt", 3, report)
        patterns = self._labels("labels/texture/pattern_ann.txt", 3, report)
        names = sorted({path.name for path in folder.iterdir()} | set(captions))
        for name in names:
            report.rows_in += 1
            match = _NAME.fullmatch(name)
            if match is None:
                report.drop("a name that is not <gender>-<category>-id_<number>-<view>", name)
                continue
            slot = self._slot(match["category"])
            found = {"gender": self.stated("gender", match["gender"])}
            for attribute, values, label in zip(
                _SHAPES, _SHAPES.values(), shapes.get(name, ()), strict=False
            ):
                if attribute not in ("sleeve", "neckline") or slot in _BODY:
                    found[attribute] = _value(values, label)
            if slot is not None:
                for attribute, values, labels in (
                    ("material", _FABRICS, fabrics),
                    ("pattern", _PATTERNS, patterns),
                ):
                    if name in labels:
                        found[attribute] = _value(values, labels[name][_PLACES[slot]])
            yield Item(
                item_id=name,
                image=folder / name,
                text=captions.get(name, ""),
                category=match["category"],
                product_id=match["product"],
                attributes=found,
                origin=name,
            )
        report.expect("photos", _SIZE, len(names))

    def _slot(self, category: str) -> str | None:
        """Where a category is worn."""
        stated = None if self.parser is None else self.parser.slot(category)
        return stated or _WORN.get(category)

    def _labels(self, name: str, count: int, report: Report) -> dict[str, list[int]]:
        """Numbers by photo, of a list without a header."""
        path = self.optional(name)
        if path is None:
            report.note(f"no {name}: what it states is read from the captions")
            return {}
        labels = {}
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            photo, *numbers = line.split() or [""]
            if len(numbers) == count and all(n.isdigit() for n in numbers):
                labels[photo] = [int(n) for n in numbers]
            elif photo:
                report.repair(f"row of {path.name} without all fields left out", f"line {number}")
        return labels


def _value(values: tuple[str, ...], label: int) -> str:
    return values[label] if label < len(values) else "unknown"
