"""Contents by their hashes: the parts that jobs encode hold every content once."""

import numpy as np
import pytest

from fashret.catalog.contents import Part
from fashret.catalog.feature_store import content_digests
from fashret.errors import ConfigError


@pytest.mark.parametrize("of", [1, 3, 16])
def test_parts_hold_every_content_once_and_about_as_many(of: int) -> None:
    digests = content_digests(str(number).encode() for number in range(16_000))
    held = np.stack([Part(number, of).holds(digests) for number in range(1, of + 1)])
    assert (held.sum(axis=0) == 1).all()
    counts = held.sum(axis=1)
    assert counts.tolist() == pytest.approx([16_000 / of] * of, abs=4 * (16_000 / of) ** 0.5)
    first = [digest.tobytes() for digest in digests[held[0]]]
    assert max(first) < min(d.tobytes() for d in digests[~held[0]]) if of > 1 else True


def test_the_ends_of_the_ranges_are_held() -> None:
    ends = np.frombuffer(b"\x00" * 16 + b"\xff" * 16, dtype="V16")
    assert Part(1, 7).holds(ends).tolist() == [True, False]
    assert Part(7, 7).holds(ends).tolist() == [False, True]


@pytest.mark.parametrize("wrong", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", ""])
def test_what_is_no_part_is_answered(wrong: str) -> None:
    with pytest.raises(ConfigError, match=rf"catalog.part={wrong}: expected such as 3/16"):
        Part.parse(wrong)
    assert Part.parse("3/16") == Part(3, 16)
