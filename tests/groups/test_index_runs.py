"""Runs of entries against lists of all of them."""

import itertools

import pytest

from steadydecay.groups.index_runs import Runs, below, flattened, taken

RUNS: list[Runs] = [[], [range(5)], [range(2, 3), range(3, 6)], [range(2), range(4, 4), range(5, 9)]]


def entries(runs: Runs) -> list[int]:
    return [entry for run in runs for entry in run]


@pytest.mark.parametrize("runs", RUNS)
def test_taken_is_a_slice(runs: Runs) -> None:
    for start, stop in itertools.product(range(9), range(9)):
        assert entries(taken(runs, start, stop)) == entries(runs)[start:stop]


@pytest.mark.parametrize("runs", RUNS)
def test_below_counts(runs: Runs) -> None:
    for limit in range(11):
        assert below(runs, limit) == sum(entry < limit for entry in entries(runs))


@pytest.mark.parametrize("outer", RUNS)
@pytest.mark.parametrize("inner", [*RUNS, [range(9)]])
def test_flattened_numbers_both_dimensions(outer: Runs, inner: Runs) -> None:
    expected = [i * 9 + j for i in entries(outer) for j in entries(inner)]
    assert entries(flattened(outer, inner, 9)) == expected
