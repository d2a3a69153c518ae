"""A verdict follows from an interval and a range, and from nothing else."""

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from steadydecay.experiments.criterion import Criterion, Verdict, confidence_interval, judged, overall

BELOW = Criterion("something", high=1.0)
BETWEEN = Criterion("something", low=-1.0, high=1.0)
CASES: list[tuple[Criterion, list[float], Verdict]] = [
    (BELOW, [0.5, 0.6, 0.55], "reproduced"),
    (BELOW, [1.5, 1.6, 1.55], "not reproduced"),
    (BELOW, [0.9, 1.2, 0.8], "inconclusive"),
    (BELOW, [0.5, 0.5], "reproduced"),
    (BELOW, [0.5], "inconclusive"),
    (BELOW, [], "inconclusive"),
    (BELOW, [0.5, math.nan, 0.5], "inconclusive"),
    (BELOW, [0.5, math.inf], "inconclusive"),
    (BETWEEN, [0.0, 0.1, -0.1], "reproduced"),
    (BETWEEN, [-2.0, -2.1, -2.2], "not reproduced"),
    (BETWEEN, [2.0, 2.1, 2.2], "not reproduced"),
    (BETWEEN, [5.0, -5.0, 0.0], "inconclusive"),
]


@pytest.mark.parametrize(("criterion", "values", "verdict"), CASES)
def test_the_interval_decides(criterion: Criterion, values: list[float], verdict: Verdict) -> None:
    assert judged(criterion, values).verdict == verdict


@pytest.mark.parametrize("values", [[1.0, 2.0], [3.0, 3.5, 2.0, 9.0], [1e-9, -1e-9, 0.0]])
def test_the_interval_is_students(values: list[float]) -> None:
    error = statistics.stdev(values) / math.sqrt(len(values))
    expected = stats.t.interval(0.95, len(values) - 1, loc=statistics.fmean(values), scale=error)
    assert confidence_interval(values) == pytest.approx(expected)


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    draws = stats.norm.rvs(size=(2000, 4), random_state=0)
    held = [low <= 0 <= high for low, high in map(confidence_interval, np.asarray(draws).tolist())]
    assert 0.935 < statistics.fmean(held) < 0.965


def test_one_failure_decides_and_nothing_measured_is_open() -> None:
    assert overall(["reproduced", "reproduced"]) == "reproduced"
    assert overall(["inconclusive", "not reproduced"]) == "not reproduced"
    assert overall(["inconclusive", "reproduced"]) == "inconclusive"
    assert overall([]) == "inconclusive"
