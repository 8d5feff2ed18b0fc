"""Which ranked items are relevant, and how many there are to find: against loops over all pairs."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from fashret.errors import ConfigError
from fashret.evaluation.judgments import EqualCodes, relevance_judgments
from fashret.functional.relevance import CodeRelevance, ListedRelevance, PartialMatch, Relevance
from fashret.functional.topk import Excluded
from fashret.tasks.base import Search, Task

QUERIES, ITEMS = 15, 22


class Case(NamedTuple):
    """Queries and items with codes, what queries must not find, and what they found."""

    of_query: list[int]
    of_item: list[int]
    units: list[int]
    out: set[tuple[int, int]]
    rows: Tensor

    @property
    def excluded(self) -> Excluded:
        pairs = torch.tensor(sorted(self.out), dtype=torch.long).view(-1, 2)
        return Excluded(pairs[:, 0], pairs[:, 1])

    @property
    def relevance(self) -> CodeRelevance:
        return CodeRelevance(torch.tensor(self.of_query), torch.tensor(self.of_item))

    def search(self, *, units: bool = False) -> Search:
        return Search(
            "s",
            np.full(QUERIES, -1),
            np.arange(ITEMS),
            torch.full((QUERIES,), -1),
            units=torch.tensor(self.units) if units else None,
            excluded=self.excluded if self.out else None,
        )

    def allowed(self, query: int) -> list[int]:
        return [item for item in range(ITEMS) if (query, item) not in self.out]

    def matches(self, query: int, item: int) -> bool:
        return self.of_query[query] == self.of_item[item] != -1


def case(seed: int, share: float = 0.35) -> Case:
    """Codes from -1 to 4, of which 4 is no item's, and rankings of what is allowed, padded."""
    rng = np.random.default_rng(seed)
    of_query = [int(code) for code in rng.integers(-1, 5, QUERIES)]
    of_item = [int(code) for code in rng.integers(-1, 4, ITEMS)]
    out = {(int(q), int(i)) for q, i in np.argwhere(rng.random((QUERIES, ITEMS)) < share)}
    made = Case(of_query, of_item, [int(u) for u in rng.integers(0, 8, ITEMS)], out, torch.empty(0))
    rows = torch.full((QUERIES, 12), -1)
    for query in range(QUERIES):
        found = rng.permutation(made.allowed(query))[: int(rng.integers(3, 12))]
        rows[query, : len(found)] = torch.from_numpy(found)
    return made._replace(rows=rows, units=np.unique(made.units, return_inverse=True)[1].tolist())


def task(relevance: Relevance) -> Task:
    return Task("t", "s", relevance, ["hit@1"], ["hit@1"])


SEEDS = pytest.mark.parametrize("seed", range(6))
SHARES = pytest.mark.parametrize("share", [0.0, 0.35, 0.8])


@SEEDS
@SHARES
def test_items_of_a_querys_code_are_relevant_but_for_those_it_must_not_find(
    seed: int, share: float
) -> None:
    made = case(seed, share)
    found = relevance_judgments(task(made.relevance), made.search(), made.rows)
    assert found.gains is None
    assert found.ideal is None
    for query in range(QUERIES):
        allowed = made.allowed(query)
        assert int(found.num_ranked[query]) == len(allowed)
        right = [item for item in allowed if made.matches(query, item)]
        assert int(found.num_relevant[query]) == len(right)
        assert bool(found.known[query]) == (made.of_query[query] != -1)
        ranked = made.rows[query].tolist()
        assert found.hits[query].tolist() == [row in right for row in ranked]


@SEEDS
@SHARES
def test_a_unit_is_relevant_by_an_item_that_the_query_may_find(seed: int, share: float) -> None:
    made = case(seed, share)
    found = relevance_judgments(task(made.relevance), made.search(units=True), made.rows)
    for query in range(QUERIES):
        allowed = made.allowed(query)
        assert int(found.num_ranked[query]) == len({made.units[item] for item in allowed})
        right = {made.units[item] for item in allowed if made.matches(query, item)}
        assert int(found.num_relevant[query]) == len(right)
        ranked = made.rows[query].tolist()
        assert found.hits[query].tolist() == [
            row >= 0 and made.units[row] in right for row in ranked
        ]


@SEEDS
def test_the_relevant_pairs_that_are_excluded_are_kept_for_the_halves_of_a_split(seed: int) -> None:
    made = case(seed)
    codes = EqualCodes.from_relevance(made.relevance, made.excluded)
    assert codes.excluded is not None
    lost = set(zip(*(part.tolist() for part in codes.excluded), strict=True))
    assert lost == {pair for pair in made.out if made.matches(*pair)}
    assert codes.counted.tolist() == [code != -1 for code in made.of_item]

    codes = EqualCodes.from_relevance(made.relevance, made.excluded, torch.tensor(made.units))
    assert codes.excluded is not None
    pairs = list(zip(*(part.tolist() for part in codes.excluded), strict=True))
    assert [query for query, _ in pairs] == sorted(query for query, _ in pairs)
    found = {(query, made.units[item]) for query, item in pairs}
    assert len(found) == len(pairs)  # one item of each unit
    assert all(made.matches(*pair) and pair in made.out for pair in pairs)
    expected = set()
    for query in range(QUERIES):
        right = [item for item in range(ITEMS) if made.matches(query, item)]
        having = {made.units[item] for item in right}
        left = {made.units[item] for item in right if (query, item) not in made.out}
        expected |= {(query, unit) for unit in having - left}
    assert found == expected
    # Of the items of one unit and code the first counts.
    first: dict[tuple[int, int], int] = {}
    for item in range(ITEMS):
        if made.of_item[item] != -1:
            first.setdefault((made.units[item], made.of_item[item]), item)
    assert codes.counted.nonzero()[:, 0].tolist() == sorted(first.values())


def test_codes_of_one_unit_are_not_those_of_the_next() -> None:
    """The largest code of a unit, and an unknown one of the unit behind it, are two things."""
    relevance = CodeRelevance(torch.tensor([0, 1, 2]), torch.tensor([2, -1, 0, 2, 1, -1]))
    units = torch.tensor([0, 1, 1, 2, 0, 0])
    codes = EqualCodes.from_relevance(relevance, None, units)
    assert codes.relevant.tolist() == [1, 1, 2]
    assert codes.excluded is None
    rows = torch.arange(6).expand(3, -1)
    # Unit 0 (items 0, 4, 5) has the codes 2 and 1, unit 1 (1, 2) has 0, and unit 2 (3) has 2.
    assert codes.hits(rows).tolist() == [
        [False, True, True, False, False, False],
        [True, False, False, False, True, True],
        [True, False, False, True, True, True],
    ]


def test_nothing_is_relevant_where_no_code_is_known() -> None:
    unknown = torch.full((3,), -1)
    rows = torch.arange(3).expand(3, -1)
    for units in (None, torch.tensor([0, 0, 1])):
        codes = EqualCodes.from_relevance(CodeRelevance(unknown, unknown), None, units)
        assert codes.relevant.tolist() == [0, 0, 0]
        assert not bool(codes.hits(rows).any())
        assert not bool(codes.known.any())


def graded(made: Case, seed: int) -> tuple[list[Relevance], dict[str, Tensor]]:
    """A list of gains and a share of matching values, with the gain of every pair."""
    rng = np.random.default_rng(seed + 100)
    table = torch.from_numpy(rng.choice([0.0, 0.0, 0.25, 0.5, 1.0], (QUERIES, ITEMS)))
    query, item = table.nonzero(as_tuple=True)
    listed = ListedRelevance(query, item, table[query, item], QUERIES, ITEMS, least_gain=0.5)
    asked = torch.from_numpy(rng.integers(0, 2, (QUERIES, 2)))
    values = torch.from_numpy(rng.integers(0, 2, (ITEMS, 2)))
    same = asked[:, None] == values[None]
    shares = same.double().mean(dim=2) * same[:, :, 0]
    return [listed, PartialMatch(asked, values)], {"ListedRelevance": table, "PartialMatch": shares}


@SEEDS
@pytest.mark.parametrize("share", [0.0, 0.35])
def test_graded_items_have_their_gains_and_padding_has_none(seed: int, share: float) -> None:
    made = case(seed, share)
    relevances, tables = graded(made, seed)
    for relevance in relevances:
        gain = tables[type(relevance).__name__]
        found = relevance_judgments(task(relevance), made.search(), made.rows)
        assert found.gains is not None
        assert found.ideal is not None
        assert found.ideal.shape == made.rows.shape
        assert bool(found.known.all())
        for query in range(QUERIES):
            allowed = made.allowed(query)
            ranked = made.rows[query].tolist()
            expected = [float(gain[query, row]) if row >= 0 else 0.0 for row in ranked]
            assert found.gains[query].tolist() == pytest.approx(expected)
            assert found.hits[query].tolist() == [g >= relevance.least_gain for g in expected]
            right = [item for item in allowed if float(gain[query, item]) >= relevance.least_gain]
            assert int(found.num_relevant[query]) == len(right)
            assert int(found.num_ranked[query]) == len(allowed)
            best = sorted((float(g) for g in gain[query]), reverse=True)[: made.rows.shape[1]]
            if share == 0.0:
                assert found.ideal[query].tolist() == pytest.approx(best)
            else:  # as many ranks as are left to find, and none has more than the best
                kept = [g if rank < len(right) else 0.0 for rank, g in enumerate(best)]
                assert found.ideal[query].tolist() == pytest.approx(kept)


def test_grades_are_of_items_and_not_of_units() -> None:
    made = case(0)
    listed = graded(made, 0)[0][0]
    with pytest.raises(ConfigError, match=r"retrieval\.by=product: the task t judges items"):
        relevance_judgments(task(listed), made.search(units=True), made.rows)
