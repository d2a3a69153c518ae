"""The rate of change of a norm against a slow sum over its past."""

import math

import pytest
import torch

from steadydecay.monitor.trend import Trend, drift


def followed(norms: list[float], times: list[float]) -> Trend:
    trend, before = Trend.new(1, torch.device("cpu")), times[0]
    for norm, time in zip(norms, times, strict=True):
        trend = trend.after(torch.tensor([norm**2]), torch.tensor([time - before]))
        before = time
    return trend


def drift_of(trend: Trend, time: float) -> float:
    found = drift(trend.rate.item(), time)
    assert found is not None
    return found


@pytest.mark.parametrize("rate", [0.7, -0.3, 0.0])
@pytest.mark.parametrize("spacing", [0.01, 0.4, 3.0])
def test_exponential_growth_is_found_at_once_and_whatever_the_spacing(rate: float, spacing: float) -> None:
    for count in (2, 5, 12):
        times = [spacing * index for index in range(count)]
        trend = followed([2.0 * math.exp(rate * time) for time in times], times)
        assert drift_of(trend, times[-1]) == pytest.approx(rate, abs=2e-4)


def test_the_past_is_forgotten_within_time_constants() -> None:
    times = [0.1 * index for index in range(101)]
    norms = [math.exp(min(time, 4.0)) for time in times]
    assert drift_of(followed(norms, times), 10.0) == pytest.approx(math.exp(-6.0), rel=0.02)


def test_it_is_the_mean_over_the_past_with_weights_that_fall_exponentially() -> None:
    times = [0.25 * index for index in range(20)]
    norms = [3 + math.sin(time) for time in times]
    now, total = times[-1], 0.0
    for earlier, later, norm, next_norm in zip(times, times[1:], norms, norms[1:], strict=False):
        weight = math.exp(later - now) - math.exp(earlier - now)
        total += weight * math.log(next_norm / norm) / (later - earlier)
    assert drift_of(followed(norms, times), now) == pytest.approx(total / (1 - math.exp(-now)), rel=1e-4)


def test_a_norm_of_zero_has_no_trend_and_what_follows_has() -> None:
    trend = followed([0.0, 0.0, 1.0], [0.0, 1.0, 2.0])
    assert trend.rate.item() == 0
    assert drift_of(followed([0.0, 1.0, math.e], [0.0, 1.0, 2.0]), 2.0) == pytest.approx(1 - math.exp(-1), rel=0.2)


def test_where_no_time_passes_there_is_a_change_but_no_rate() -> None:
    trend = followed([1.0, math.e], [0.0, 0.0])
    assert trend.rate.item() == pytest.approx(1.0)
    assert drift(trend.rate.item(), 0.0) is None
