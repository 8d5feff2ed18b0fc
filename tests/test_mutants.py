"""The mutation testing of scripts/mutants.py: what is changed, what is not, and what is drawn."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "mutants.py"

SOURCE = '''"""A module of 1 + 1 lines."""

import math
LIMIT = 5

@register(order=3)
def chosen(a: "int | None", b=0.5) -> int | None:
    """Take a < b for what it is."""
    assert a > 1
    if a < 0 and not b:
        raise ValueError(f"{a + 1} is below {0}, not above " + str(1))
    log.info("of 1", a + 1)
    other: int | None = math.sqrt(a, b, dim=1)
    rng = np.random.default_rng([7, a + 1])
    found = [x for x in b if x & ~other]
    return found[: a - 1], min(a, b)
'''

EXPECTED = {
    4: ["LIMIT = (4)", "LIMIT = (6)"],
    7: ["b=(-0.5)", "b=(1.5)"],
    10: [
        "(a < 0 or not b)",
        "(a <= 0)",
        "(a >= 0)",
        "a < (-1)",
        "a < (1)",
        "and (b)",
    ],
    13: ["sqrt(a, b, dim=0)", "sqrt(b, a, dim=1)"],
    15: ["(x | ~other)", "& (other)"],
    16: [
        "(a + 1)",
        "(a - 1:)",
        "a - (0)",
        "a - (2)",
        "max(a, b)",
        "min(a, b), found",
    ],
}
"""What each line is changed to, one change at a time; the other lines stay."""


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module  # where its dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_code_is_changed_and_neither_messages_nor_types_nor_seeds(
    mutants: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    made = mutants.mutants_of("group", path)
    before = SOURCE.splitlines()
    found = Counter(mutant.line for mutant in made)
    assert found == {line: len(changes) for line, changes in EXPECTED.items()}
    for line, changes in EXPECTED.items():
        texts = [m.source.splitlines()[line - 1] for m in made if m.line == line]
        for change in changes:
            wanted = change.replace("(a - 1:)", "a - 1:")
            assert sum(wanted in text for text in texts) == 1, (change, texts)
    for mutant in made:
        after = mutant.source.splitlines()
        changed = [
            i for i, pair in enumerate(zip(before, after, strict=True), 1) if len({*pair}) > 1
        ]
        assert changed == [mutant.line]


def test_a_sample_is_shared_out_evenly_and_follows_from_its_seed(mutants: ModuleType) -> None:
    groups = ["miners", "batches", "schedules"]
    drawn = mutants.sample(groups, 300, 0)
    counts = Counter(mutant.group for mutant in drawn)
    small = len(mutants.mutants_of("schedules", mutants.ROOT / "fashret/engine/schedules.py"))
    assert small < 100
    assert counts["schedules"] == small  # all that there are; the others share what it leaves
    assert abs(counts["miners"] - counts["batches"]) <= 1
    assert sum(counts.values()) == 300
    assert len({(mutant.path, mutant.source) for mutant in drawn}) == 300
    assert mutants.sample(groups, 300, 0) == drawn
    assert mutants.sample(groups, 300, 1) != drawn
    alone = mutants.sample(["miners"], counts["miners"], 0)
    assert alone == [mutant for mutant in drawn if mutant.group == "miners"]


def test_every_group_has_sources_and_tests(mutants: ModuleType) -> None:
    for name, group in mutants.GROUPS.items():
        assert all(path.is_file() for path in group.modules), name
        assert group.files, name
        assert all(Path(path).is_file() for path in group.files), name
    assert set(mutants.GROUPS) == {
        "functional", "losses", "miners", "batches", "schedules", "evaluation", "scoreboard",
        "engine",
    }  # fmt: skip


def test_a_mutant_is_loaded_in_the_place_of_its_module(mutants: ModuleType) -> None:
    path = mutants.ROOT / "fashret" / "functional" / "collapse.py"
    before = path.read_text()
    mutant = mutants.Mutant("functional", path, 1, before.replace("> 0.98", "> 7.0"))
    assert mutant.source != before
    assert mutant.module == "fashret.functional.collapse"
    assert "return self.mean_similarity > 7.0" in mutant.diff()
    finder = mutants._MutantLoader(mutant)
    assert finder.find_spec("fashret.functional", None) is None
    spec = finder.find_spec(mutant.module, None)
    changed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(changed)
    assert not changed.EmbeddingSpread(9.0, 1.0).collapsed
    assert path.read_text() == before
