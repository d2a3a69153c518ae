"""Stretches of steps that are not there, against sets of steps."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadydecay.run_log.missing_steps import in_words, missing_steps


@settings(deadline=None, derandomize=True)
@given(logged=st.sets(st.integers(1, 40)), last=st.integers(0, 40), every=st.integers(1, 5))
def test_what_is_missing_is_what_no_record_has(logged: set[int], last: int, every: int) -> None:
    steps = sorted(step * every for step in logged)
    stretches = missing_steps(steps, last * every, every)
    found = [step for first, final in stretches for step in range(first, final + 1, every)]
    assert found == [step for step in range(every, last * every + 1, every) if step not in steps]
    assert all(later[0] > earlier[1] + every for earlier, later in pairwise(stretches))


@pytest.mark.parametrize(
    ("steps", "last", "every", "expected"),
    [
        ([], 0, 1, []),
        ([], 3, 1, [(1, 3)]),
        ([0, 1, 2], 2, 1, []),
        ([41.0, 42.0], 42, 1, [(1, 40)]),
        ([1, 11, 21], 21, 10, []),
        ([100, 200.4, 299.9, 500], 500, 100, [(400, 400)]),
    ],
)
def test_steps_as_others_log_them(steps: list[float], last: int, every: float, expected: list[tuple[int, int]]) -> None:
    assert missing_steps(steps, last, every) == expected


def test_many_stretches_are_counted() -> None:
    assert in_words([(1, 1), (3, 5_000), (5_002, 5_002)]) == "1, 3 to 5,000, 5,002"
    assert in_words([(1, 1), (3, 3), (5, 5), (7, 7), (9, 9)]) == "1, 3, 5, and 2 more stretches"
