"""Several sets as one."""

from pathlib import Path

from fashret.data.preparation import prepare
from fashret.data.sources import Joined
from support.sources import COMMON, folder, photo


def test_a_joined_set_holds_out_what_its_parts_hold_out(tmp_path: Path) -> None:
    parts = {}
    for name in ("shoes", "bags"):
        for i in range(40):
            photo(tmp_path / name / "a" / f"{i}.jpg", i)
        parts[name] = folder(tmp_path / name)
    joined = prepare(Joined(name="both", parts=parts, attributes=[], **COMMON), tmp_path / "cache")
    place = dict(zip(joined.column("item_id"), joined.column("split"), strict=True))
    assert len(place) == 80
    for name, part in parts.items():
        alone = prepare(part, tmp_path / "cache")
        for item_id, split in zip(alone.column("item_id"), alone.column("split"), strict=True):
            assert place[f"{name}/{item_id}"] == split
