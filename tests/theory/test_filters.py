import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steadydecay.theory.filters import (
    MomentumFilter,
    exponential_average,
    lion_average,
    momentum_filter,
    nesterov_average,
    unchecked_filter,
)

momenta = st.floats(0, 0.95)
properties = settings(derandomize=True, deadline=None, max_examples=60)

# 0.95^1000 is below half a unit in the last place of 1.
MEMORY = 1000


def average_response(momentum: float, nesterov: bool) -> list[float]:
    """What a unit gradient at step 0 adds to the direction of each later step, by the optimizer's own recursion."""
    average, response = 0.0, []
    for step in range(MEMORY):
        gradient = 1.0 if step == 0 else 0.0
        average = momentum * average + (1 - momentum) * gradient
        response.append(momentum * average + (1 - momentum) * gradient if nesterov else average)
    return response


def heavy_ball_response(momentum: float) -> list[float]:
    buffer, response = 0.0, []
    for step in range(MEMORY):
        buffer = momentum * buffer + (1.0 if step == 0 else 0.0)
        response.append(buffer)
    return response


def lion_response(beta1: float, beta2: float) -> list[float]:
    average, response = 0.0, []
    for step in range(MEMORY):
        gradient = 1.0 if step == 0 else 0.0
        response.append(beta1 * average + (1 - beta1) * gradient)
        average = beta2 * average + (1 - beta2) * gradient
    return response


def covariance(response: list[float], lag: int) -> float:
    return math.fsum(early * late for early, late in zip(response, response[lag:], strict=False))


def assert_autocorrelation_is(response: list[float], momentum: MomentumFilter) -> None:
    claimed = momentum.autocorrelation(11)
    for lag in (0, 1, 2, 3, 10):
        measured = covariance(response, lag) / covariance(response, 0)
        assert claimed[lag] == pytest.approx(measured, rel=1e-12, abs=1e-300)


@properties
@given(momenta, st.booleans())
def test_direction_has_unit_sum(momentum: float, nesterov: bool) -> None:
    assert math.fsum(average_response(momentum, nesterov)) == pytest.approx(1, rel=1e-12)


@properties
@given(momenta, st.booleans())
def test_energy_is_the_sum_of_squared_coefficients(momentum: float, nesterov: bool) -> None:
    measured = covariance(average_response(momentum, nesterov), 0)
    assert momentum_filter(momentum, nesterov).energy == pytest.approx(measured, rel=1e-12)


@properties
@given(momenta, st.booleans())
def test_autocorrelation_is_gain_times_powers_of_decay(momentum: float, nesterov: bool) -> None:
    assert_autocorrelation_is(average_response(momentum, nesterov), momentum_filter(momentum, nesterov))


@properties
@given(momenta)
def test_heavy_ball_is_as_correlated_as_the_average(momentum: float) -> None:
    assert_autocorrelation_is(heavy_ball_response(momentum), exponential_average(momentum))


@properties
@given(momenta, momenta)
def test_lion_has_its_own_gain_and_energy(beta1: float, beta2: float) -> None:
    response, momentum = lion_response(beta1, beta2), lion_average(beta1, beta2)
    assert_autocorrelation_is(response, momentum)
    assert momentum.energy == pytest.approx(covariance(response, 0), rel=1e-12)


@properties
@given(momenta, momenta)
def test_impulse_response_is_lions_own(beta1: float, beta2: float) -> None:
    assert lion_average(beta1, beta2).impulse_response(20) == pytest.approx(lion_response(beta1, beta2)[:20], abs=1e-15)


@pytest.mark.parametrize("length", [0, 1, 2])
def test_responses_have_the_length_that_was_asked_for(length: int) -> None:
    momentum = nesterov_average(0.9)
    assert len(momentum.impulse_response(length)) == len(momentum.autocorrelation(length)) == length


@pytest.mark.parametrize(
    ("carry", "decay", "name"), [(1.0, 0.5, "carry"), (0.5, -0.1, "decay"), (0.5, math.nan, "decay")]
)
def test_a_filter_out_of_range_is_named(carry: float, decay: float, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^momentum\.{name} is .*; it must be in \[0, 1\)$"):
        momentum_filter(MomentumFilter(carry, decay))


def test_a_filter_stands_for_a_momentum() -> None:
    assert momentum_filter(lion_average(0.9, 0.99)) == lion_average(0.9, 0.99)


@properties
@given(momenta)
def test_nesterov_gain_is_the_published_formula(momentum: float) -> None:
    beta = momentum
    variance = (1 - beta**2) ** 2 + (1 - beta) ** 2 * beta**4 / (1 - beta**2)
    gain = (beta * (1 - beta) * (1 - beta**2) + beta**4 * (1 - beta) / (1 + beta)) / variance
    assert nesterov_average(beta).first_correlation == pytest.approx(gain * beta, rel=1e-12, abs=1e-300)
    assert nesterov_average(0.9).gain * 0.9 == pytest.approx(nesterov_average(0.9).first_correlation)


@pytest.mark.parametrize("nesterov", [False, True])
def test_no_momentum_passes_the_gradient(nesterov: bool) -> None:
    momentum = momentum_filter(0.0, nesterov)
    assert momentum.energy == 1
    assert momentum.gain * momentum.decay == 0


@pytest.mark.parametrize("momentum", [1.0, -0.1, 1.5, math.nan, math.inf])
def test_momentum_out_of_range_is_named(momentum: float) -> None:
    with pytest.raises(ValueError, match=rf"^momentum is {momentum!r}; it must be in \[0, 1\): .* 0\.9, not 0\.1$"):
        momentum_filter(momentum)


@pytest.mark.parametrize("nesterov", [False, True])
def test_filter_of_a_tensor_has_the_same_numbers(nesterov: bool) -> None:
    of_tensor = unchecked_filter(torch.tensor(0.9, dtype=torch.float64), nesterov)  # pyright: ignore[reportArgumentType]
    of_float = momentum_filter(0.9, nesterov)
    assert [float(value) for value in of_tensor] == pytest.approx(list(of_float), rel=1e-15)
    assert float(of_tensor.energy) == pytest.approx(of_float.energy, rel=1e-15)
    assert float(of_tensor.first_correlation) == pytest.approx(of_float.first_correlation, rel=1e-15)
