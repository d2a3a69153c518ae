"""Each verdict, and where one turns into the other."""

import pytest

from steadydecay.monitor.verdict import SETTLING_TIME, TOLERANCE, Verdict, verdict_of


@pytest.mark.parametrize(
    ("has_decay", "time_constants", "drift", "ratio", "expected"),
    [
        (False, 9.0, 0.5, None, "no decay"),
        (False, 0.0, 0.0, 0.5, "no decay"),
        (True, 0.0, 0.0, 0.5, "not yet there"),
        (True, 1.0, 0.9, 0.5, "not yet there"),
        (True, 1.0, -0.9, 1.5, "not yet there"),
        (True, 1.0, -0.04, 0.5, "not yet there"),
        (True, 1.0, -0.9, 0.5, "falling"),
        (True, 1.0, 0.9, 1.5, "rising"),
        (True, 1.0, 0.0, 0.96, "steady"),
        (True, 1.0, 0.9, None, "rising"),
        (True, SETTLING_TIME, 0.9, 0.5, "rising"),
        (True, SETTLING_TIME, -0.9, 1.5, "falling"),
        (True, 9.0, TOLERANCE, 0.5, "steady"),
        (True, 9.0, -TOLERANCE, 1.5, "steady"),
        (True, 9.0, 1.01 * TOLERANCE, 1.0, "rising"),
        (True, 9.0, -1.01 * TOLERANCE, None, "falling"),
    ],
)
def test_the_verdict(
    has_decay: bool, time_constants: float, drift: float, ratio: float | None, expected: Verdict
) -> None:
    assert verdict_of(has_decay, time_constants, drift, ratio) == expected
