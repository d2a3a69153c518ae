"""Series: what is smoothed, thinned and read off."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadydecay.report.series import EMPTY, Series, mean_within, smoothed, thinned

LISTS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


def of(values: list[float]) -> Series:
    return Series.of(range(1, len(values) + 1), values)


def test_smoothing_is_the_mean_of_the_last_values() -> None:
    series = Series.of([3, 4, 5, 9], [1.0, 3.0, 8.0, 4.0])
    assert smoothed(series, 1) is series and smoothed(series, 0) is series
    assert smoothed(series, 2).steps.tolist() == [3, 4, 5, 9]
    assert smoothed(series, 2).values.tolist() == [1.0, 2.0, 5.5, 6.0]
    assert smoothed(series, 3).values.tolist() == [1.0, 2.0, 4.0, 5.0]
    assert smoothed(series, 100).values.tolist() == [1.0, 2.0, 4.0, 4.0]
    assert len(smoothed(EMPTY, 5)) == 0


@given(LISTS, st.integers(1, 30))
def test_thinning_keeps_every_extreme_and_no_more_points_than_asked_for(values: list[float], half: int) -> None:
    series, most = of(values), 2 * half
    thin = thinned(series, most)
    assert len(thin) <= max(most, 1)
    assert (thin.values.min(), thin.values.max()) == (series.values.min(), series.values.max())
    assert np.all(np.diff(thin.steps) > 0)
    assert {*zip(thin.steps, thin.values, strict=True)} <= {*zip(series.steps, series.values, strict=True)}


def test_a_short_series_is_not_thinned() -> None:
    series = of([1.0, 5.0, 2.0])
    assert thinned(series, 4) is series
    assert thinned(EMPTY) is EMPTY


def test_a_spike_of_one_step_among_thousands_survives() -> None:
    values = [1.0] * 10_000
    values[6_543] = 50.0
    values[1_234] = -50.0
    thin = thinned(of(values))
    assert len(thin) <= 400
    assert {(6_544, 50.0), (1_235, -50.0)} <= {*zip(thin.steps.tolist(), thin.values.tolist(), strict=True)}


@pytest.mark.parametrize(
    ("after", "until", "mean"), [(0, 3, 4.0), (1, 3, 5.0), (1, 2, math.nan), (3, 4, math.nan), (4, 9, math.nan)]
)
def test_means_are_of_finite_values_in_a_half_open_range(after: float, until: float, mean: float) -> None:
    series = Series.of([1, 2, 3, 4], [3.0, math.nan, 5.0, math.inf])
    assert mean_within(series, after, until) == pytest.approx(mean, nan_ok=True)


def test_the_last_value_of_nothing_is_not_a_number() -> None:
    assert math.isnan(EMPTY.last)
    assert of([1.0, 7.0]).last == 7.0
