import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadydecay.theory import (
    correlation,
    decay_for_norm,
    effective_lr,
    lion_average,
    momentum_for,
    perpendicular_share,
    steady_norm_sq,
    time_constant,
)
from steadydecay.theory.filters import momentum_filter

properties = settings(derandomize=True, deadline=None, max_examples=100)
learning_rates = st.floats(1e-6, 10)
decays = st.floats(1e-12, 0.99)
momenta = st.one_of(st.just(0.0), st.floats(0, 0.999), st.floats(1e-6, 1e-2))
UNIT_ROUNDOFF = 2.0**-53


def precise_steady_norm_sq(lr: float, decay: float, momentum: float, nesterov: bool) -> Any:
    """Eq. 3 without its approximation, to 60 digits."""
    with mpmath.workdps(60):
        gamma, eta, beta = mpmath.mpf(lr), mpmath.mpf(decay), mpmath.mpf(momentum)
        gain = mpmath.mpf(1)
        if nesterov:
            variance = (1 - beta**2) ** 2 + (1 - beta) ** 2 * beta**4 / (1 - beta**2)
            gain = (beta * (1 - beta) * (1 - beta**2) + beta**4 * (1 - beta) / (1 + beta)) / variance
        correlation = (1 - eta) * beta
        return gamma**2 / (eta * (2 - eta)) * (1 + 2 * gain * correlation / (1 - correlation))


def relative_error(value: float, truth: Any) -> float:
    with mpmath.workdps(60):
        return abs(float(mpmath.mpf(value) / truth - 1))


def norm_sq_by_recursion(lr: float, decay: float, momentum: float, nesterov: bool, steps: int) -> float:
    """E‖θ‖²/E‖u‖² of independent unit gradients: the squared response of the weight and of the update, summed.

    One unit gradient is driven through the optimizer's own step; the responses to all of them add in variance.
    """
    average, weight, weight_variance, update_variance = 0.0, 0.0, 0.0, 0.0
    for step in range(steps):
        gradient = 1.0 if step == 0 else 0.0
        average = momentum * average + (1 - momentum) * gradient
        update = momentum * average + (1 - momentum) * gradient if nesterov else average
        weight = (1 - decay) * weight - lr * update
        weight_variance += weight**2
        update_variance += update**2
    return weight_variance / update_variance


def simulated_norm_sq(decay: float, momentum: float, nesterov: bool, entries: int, steps: int) -> float:
    generator = np.random.default_rng(20251208)
    average, weight, update = np.zeros(entries), np.zeros(entries), np.zeros(entries)
    for _ in range(steps):
        gradient = generator.standard_normal(entries)
        average = momentum * average + (1 - momentum) * gradient
        update = momentum * average + (1 - momentum) * gradient if nesterov else average
        weight = (1 - decay) * weight - update
    return float(weight @ weight) / float(update @ update)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("decay", [0.01, 0.1, 0.7, 0.999])
def test_steady_norm_equals_the_linear_recursion(decay: float, momentum: float, nesterov: bool) -> None:
    measured = norm_sq_by_recursion(0.3, decay, momentum, nesterov, steps=6000)
    assert steady_norm_sq(0.3, decay, momentum, nesterov=nesterov) == pytest.approx(measured, rel=1e-11)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("decay", [0.01, 0.2, 0.9])
def test_steady_norm_equals_the_summed_series(decay: float, momentum: float) -> None:
    correlations = math.fsum(((1 - decay) * momentum) ** lag for lag in range(1, 5000))
    series = 0.3**2 / (decay * (2 - decay)) * (1 + 2 * correlations)
    assert steady_norm_sq(0.3, decay, momentum) == pytest.approx(series, rel=1e-12)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_steady_norm_equals_a_random_walk(momentum: float, nesterov: bool) -> None:
    entries = 40_000
    # Both squared norms are means over the entries, each with a relative deviation of √(2/entries).
    five_standard_errors = 5 * math.sqrt(4 / entries)
    measured = simulated_norm_sq(0.05, momentum, nesterov, entries, steps=200)
    assert steady_norm_sq(1.0, 0.05, momentum, nesterov=nesterov) == pytest.approx(measured, rel=five_standard_errors)


LMOS: list[Any] = ["linear", "sign", ("vector", 3), ("vector", 768), ("spectral", 64, 64), ("spectral", 16, 256)]
MOMENTA: list[Any] = [0.0, 0.5, 0.9, 0.98, lion_average(0.9, 0.99), lion_average(0.5, 0.0)]


@pytest.mark.parametrize("lmo", LMOS)
@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("decay", [1e-4, 0.01, 0.7])
def test_steady_norm_under_an_lmo_equals_the_summed_series(decay: float, momentum: Any, lmo: Any) -> None:
    first, beta = momentum_filter(momentum).first_correlation, momentum_filter(momentum).decay
    correlations = [(1 - decay) ** lag * correlation(first * beta ** (lag - 1), lmo) for lag in range(1, 2000)]
    factor = 1 + 2 * math.fsum(correlations)
    assert steady_norm_sq(0.3, decay, momentum, lmo=lmo) == pytest.approx(0.3**2 / (decay * (2 - decay)) * factor)
    assert perpendicular_share(decay, momentum, lmo=lmo) == pytest.approx(1 / factor)


@pytest.mark.parametrize("lmo", LMOS)
@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("decay", [1e-12, 1e-4, 0.01, 0.7, 0.99])
@pytest.mark.parametrize("lr", [1e-6, 3.0])
def test_decay_for_norm_inverts_under_every_lmo(lr: float, decay: float, momentum: Any, lmo: Any) -> None:
    norm_sq = steady_norm_sq(lr, decay, momentum, lmo=lmo)
    assert decay_for_norm(norm_sq, lr, momentum, lmo=lmo) == pytest.approx(decay, rel=1e-9)
    assert decay_for_norm(norm_sq, 0.0, momentum, lmo=lmo) == 0


def test_signs_with_momentum_are_30_percent_below_the_paper() -> None:
    assert steady_norm_sq(0.1, 1e-4, 0.9, lmo="sign") / steady_norm_sq(0.1, 1e-4, 0.9) == pytest.approx(0.70, abs=0.005)
    square = steady_norm_sq(0.1, 1e-4, 0.9, lmo=("spectral", 96, 96)) / steady_norm_sq(0.1, 1e-4, 0.9)
    assert square == pytest.approx(0.78, abs=0.005)


@properties
@given(learning_rates, st.floats(1e-14, 0.9999), st.floats(0, 0.999999), st.booleans())
def test_steady_norm_keeps_its_digits(lr: float, decay: float, momentum: float, nesterov: bool) -> None:
    truth = precise_steady_norm_sq(lr, decay, momentum, nesterov)
    assert relative_error(steady_norm_sq(lr, decay, momentum, nesterov=nesterov), truth) < 20 * UNIT_ROUNDOFF


@properties
@given(learning_rates, decays, momenta, st.booleans())
def test_decay_for_norm_inverts_steady_norm(lr: float, decay: float, momentum: float, nesterov: bool) -> None:
    norm_sq = steady_norm_sq(lr, decay, momentum, nesterov=nesterov)
    # S is flat at η = 1 without momentum, so that its inverse loses digits as 1/(1-η)².
    assert decay_for_norm(norm_sq, lr, momentum, nesterov=nesterov) == pytest.approx(decay, rel=1e-11)


@properties
@given(learning_rates, st.floats(1e-9, 1e12), momenta, st.booleans())
def test_steady_norm_inverts_decay_for_norm(lr: float, excess: float, momentum: float, nesterov: bool) -> None:
    norm_sq = lr**2 * (1 + excess)
    decay = decay_for_norm(norm_sq, lr, momentum, nesterov=nesterov)
    assert steady_norm_sq(lr, decay, momentum, nesterov=nesterov) == pytest.approx(norm_sq, rel=1e-14)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 1e-3, 0.02, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("gap", [0.3, 0.01, 1e-4, 1e-6])
def test_decay_for_norm_holds_the_norm_next_to_full_decay(gap: float, momentum: float, nesterov: bool) -> None:
    norm_sq = precise_steady_norm_sq(1.0, 1 - gap, momentum, nesterov)
    decay = decay_for_norm(float(norm_sq), 1.0, momentum, nesterov=nesterov)
    assert relative_error(float(precise_steady_norm_sq(1.0, decay, momentum, nesterov)), norm_sq) < 1e-14


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.01, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("lr", [1.0, 1e-3, 1e-6, 1e-12])
def test_decay_keeps_its_digits_far_below_the_peak(lr: float, momentum: float, nesterov: bool) -> None:
    norm_sq = 50.0
    decay = decay_for_norm(norm_sq, lr, momentum, nesterov=nesterov)
    with mpmath.workdps(60):
        exact_norm_sq = precise_steady_norm_sq(lr, decay, momentum, nesterov)
        # S falls with η at least half as steeply as 1/η here, so a right S means a right η.
        assert relative_error(norm_sq, exact_norm_sq) < 8 * UNIT_ROUNDOFF


@properties
@given(learning_rates, st.floats(1e-9, 1e24))
def test_decay_without_momentum_is_the_closed_form(lr: float, excess: float) -> None:
    norm_sq = lr**2 * (1 + excess)
    with mpmath.workdps(60):
        share = mpmath.mpf(lr) ** 2 / mpmath.mpf(norm_sq)
        truth = share / (1 + mpmath.sqrt(1 - share))
    # √(1-w) of a w that is itself rounded.
    assert relative_error(decay_for_norm(norm_sq, lr), truth) < 20 * UNIT_ROUNDOFF / math.sqrt(min(excess, 1))


@properties
@given(decays, momenta, st.booleans(), st.integers(-20, 20))
def test_steady_norm_scales_with_the_squared_lr(decay: float, momentum: float, nesterov: bool, power: int) -> None:
    unit = steady_norm_sq(1.0, decay, momentum, nesterov=nesterov)
    assert steady_norm_sq(2.0**power, decay, momentum, nesterov=nesterov) == 4.0**power * unit


def test_zero_lr_has_zero_norm_and_zero_decay() -> None:
    assert steady_norm_sq(0.0, 0.1, 0.9) == 0
    assert decay_for_norm(2.0, 0.0, 0.9) == 0


def is_rising(values: list[float]) -> bool:
    return all(low < high for low, high in pairwise(values))


@properties
@given(st.floats(1e-12, 0.98), st.floats(1e-6, 1), momenta, st.booleans())
def test_more_decay_means_a_smaller_norm(decay: float, growth: float, momentum: float, nesterov: bool) -> None:
    more_decay = decay + growth * (0.99 - decay)
    less_norm = steady_norm_sq(0.1, more_decay, momentum, nesterov=nesterov)
    assert less_norm < steady_norm_sq(0.1, decay, momentum, nesterov=nesterov)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [1e-6, 0.01, 0.5, 0.99])
def test_more_momentum_means_a_larger_norm(decay: float, nesterov: bool) -> None:
    assert is_rising([steady_norm_sq(0.1, decay, momentum / 50, nesterov=nesterov) for momentum in range(50)])


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.01, 0.5, 0.9, 0.99])
def test_decay_rises_with_lr_and_falls_with_the_norm(momentum: float, nesterov: bool) -> None:
    assert is_rising([decay_for_norm(9.0, lr / 20, momentum, nesterov=nesterov) for lr in range(60)])
    assert is_rising([decay_for_norm(9.0 / k, 0.5, momentum, nesterov=nesterov) for k in range(1, 36)])


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_small_decay_gives_the_paper_s_approximation(momentum: float, nesterov: bool) -> None:
    for decay in (1e-6, 1e-9):
        approximation = effective_lr(0.3, momentum, nesterov) ** 2 / (2 * decay)
        assert steady_norm_sq(0.3, decay, momentum, nesterov=nesterov) == pytest.approx(
            approximation, rel=2 * decay / (1 - momentum)
        )


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_full_decay_leaves_one_update(momentum: float, nesterov: bool) -> None:
    assert steady_norm_sq(0.3, 1 - 1e-9, momentum, nesterov=nesterov) == pytest.approx(0.09, rel=1e-8)


@properties
@given(learning_rates, st.floats(0, 0.9999))
def test_effective_lr_of_an_average_is_the_paper_s(lr: float, momentum: float) -> None:
    assert effective_lr(lr, momentum) == pytest.approx(lr * math.sqrt((1 + momentum) / (1 - momentum)), rel=1e-14)


@properties
@given(learning_rates, st.floats(0, 0.9999), st.booleans())
def test_momentum_for_inverts_effective_lr(lr: float, momentum: float, nesterov: bool) -> None:
    found = momentum_for(effective_lr(lr, momentum, nesterov), lr, nesterov=nesterov)
    # Near β = 0 the effective lr of Nesterov momentum is flat: 1 + 2β² and so on.
    assert effective_lr(lr, found, nesterov) == pytest.approx(effective_lr(lr, momentum, nesterov), rel=1e-11)
    assert found == pytest.approx(momentum, rel=1e-8, abs=1e-7)


@pytest.mark.parametrize("nesterov", [False, True])
def test_effective_lr_rises_with_momentum_and_lr(nesterov: bool) -> None:
    assert is_rising([effective_lr(0.1, momentum / 50, nesterov) for momentum in range(50)])
    assert is_rising([effective_lr(lr / 10, 0.9, nesterov) for lr in range(50)])


@pytest.mark.parametrize("nesterov", [False, True])
def test_no_extra_effective_lr_needs_no_momentum(nesterov: bool) -> None:
    assert momentum_for(0.3, 0.3, nesterov=nesterov) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_for_a_huge_effective_lr_is_still_legal(nesterov: bool) -> None:
    momentum = momentum_for(0.99e6, 1.0, nesterov=nesterov)
    assert effective_lr(1.0, momentum, nesterov) == pytest.approx(0.99e6, rel=1e-4)


@properties
@given(st.floats(1e-15, 0.999999))
def test_time_constant_is_when_the_squared_norm_falls_to_one_e_th(decay: float) -> None:
    assert 2 * time_constant(decay) * math.log1p(-decay) == pytest.approx(-1, rel=1e-14)


def test_time_constant_in_both_limits() -> None:
    assert time_constant(1e-15) == pytest.approx(0.5e15, rel=1e-12)
    assert time_constant(0.0) == math.inf


ERRORS: list[tuple[Callable[[], float], str]] = [
    (lambda: effective_lr(-0.1, 0.9), r"^lr is -0\.1; it must be in \[0, inf\)$"),
    (lambda: effective_lr(math.nan, 0.9), r"^lr is nan; it must be in \[0, inf\)$"),
    (lambda: effective_lr(0.1, 1.0), r"^momentum is 1\.0; it must be in \[0, 1\): "),
    (lambda: effective_lr(0.1, -0.5, True), r"^momentum is -0\.5; it must be in \[0, 1\): "),
    (lambda: steady_norm_sq(-1.0, 0.1), r"^lr is -1\.0; it must be in \[0, inf\)$"),
    (lambda: steady_norm_sq(1.0, 0.0), r"^decay is 0\.0; it must be in \(0, 1\): decay is lr · weight_decay"),
    (lambda: steady_norm_sq(1.0, 1.0), r"^decay is 1\.0; it must be in \(0, 1\): "),
    (lambda: steady_norm_sq(1.0, math.nan), r"^decay is nan; it must be in \(0, 1\): "),
    (lambda: steady_norm_sq(1.0, 0.1, 1.5), r"^momentum is 1\.5; it must be in \[0, 1\): "),
    (lambda: steady_norm_sq(1.0, 0.1, lmo="spectral"), r"^lmo is 'spectral'; it must be 'linear'"),
    (lambda: decay_for_norm(1.0, -1.0), r"^lr is -1\.0; it must be in \[0, inf\)$"),
    (
        lambda: decay_for_norm(4.0, 2.0),
        r"^steady_norm_sq is 4\.0; it must be in \(4\.0, inf\): .*lr=2\.0 alone is larger",
    ),
    (lambda: decay_for_norm(math.nan, 2.0), r"^steady_norm_sq is nan; it must be in \(4\.0, inf\): "),
    (lambda: decay_for_norm(0.0, 0.0), r"^steady_norm_sq is 0\.0; it must be in \(0\.0, inf\): "),
    (lambda: perpendicular_share(0.0), r"^decay is 0\.0; it must be in \(0, 1\)"),
    (lambda: perpendicular_share(math.nan), r"^decay is nan"),
    (lambda: perpendicular_share(0.1, 1.0), r"^momentum is 1\.0"),
    (lambda: decay_for_norm(9.0, 2.0, -0.1), r"^momentum is -0\.1; it must be in \[0, 1\): "),
    (lambda: decay_for_norm(9.0, 2.0, lmo="signs"), r"^lmo is 'signs'; it must be 'linear'"),
    (lambda: momentum_for(1.0, 0.0), r"^lr is 0\.0; it must be in \(0, inf\)$"),
    (
        lambda: momentum_for(0.9, 1.0),
        r"^effective_lr is 0\.9; it must be in \[1\.0, 1000000\.0\): .* change lr itself$",
    ),
    (lambda: momentum_for(1e6, 1.0), r"^effective_lr is 1000000\.0; it must be in \[1\.0, 1000000\.0\): "),
    (lambda: momentum_for(1e9, 1.0, nesterov=True), r"^effective_lr is 1000000000\.0; it must be in "),
    (lambda: momentum_for(math.nan, 1.0), r"^effective_lr is nan; it must be in \[1\.0, "),
    (lambda: time_constant(1.0), r"^decay is 1\.0; it must be in \[0, 1\): decay is lr · weight_decay$"),
    (lambda: time_constant(-0.1), r"^decay is -0\.1; it must be in \[0, 1\): "),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_argument_out_of_range_is_named(call: Callable[[], float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
