import math

import mpmath
import numpy as np
import pytest

from steadydecay.theory.power_series import lumped, value_at
from steadydecay.theory.unit_vector_series import unit_vector_series

RHOS = [0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999999, 1.0]


def exact(entries: float, rho: float) -> float:
    """The published formula, with the hypergeometric function of mpmath."""
    ratio = mpmath.gamma((entries + 1) / 2) ** 2 / (mpmath.gamma(entries / 2) * mpmath.gamma(entries / 2 + 1))
    return float(ratio * rho * mpmath.hyp2f1(0.5, 0.5, entries / 2 + 1, rho**2))


@pytest.mark.parametrize("entries", [1, 2, 3, 8, 64, 1000])
def test_series_is_the_closed_form(entries: int) -> None:
    series = lumped(unit_vector_series(entries))
    assert max(abs(value_at(series, rho) - exact(entries, rho)) for rho in RHOS) < 5e-4


def test_one_entry_is_the_arcsine_law() -> None:
    series = lumped(unit_vector_series(1))
    assert max(abs(value_at(series, rho) - 2 / math.pi * math.asin(rho)) for rho in np.linspace(0, 1, 2001)) < 5e-4


@pytest.mark.parametrize("entries", [0.7, 1, 2, 5, 4096])
def test_shares_are_not_negative_and_sum_to_1(entries: float) -> None:
    terms = list(unit_vector_series(entries))
    assert all(share >= 0 for _, share in terms)
    assert math.fsum(share for _, share in terms) == pytest.approx(1, abs=1e-12)
    assert [power for power, _ in terms] == sorted(power for power, _ in terms)


@pytest.mark.parametrize("entries", [2, 5])
def test_series_is_the_mean_over_gaussian_vectors(entries: int) -> None:
    generator = np.random.default_rng(0)
    first, other = generator.standard_normal((2, 200_000, entries))
    second = 0.8 * first + 0.6 * other
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(axis=1) / lengths
    standard_error = cosines.std() / math.sqrt(len(cosines))
    assert value_at(lumped(unit_vector_series(entries)), 0.8) == pytest.approx(cosines.mean(), abs=5 * standard_error)
