import math
from typing import Any

import pytest

from steadydecay.theory import correlation, power_series

LMOS = ["linear", "sign", ("vector", 1), ("vector", 7), ("vector", 10**6), ("spectral", 1, 1), ("spectral", 96, 96)]
LMOS += [("spectral", 96, 24), ("spectral", 768, 50304)]


@pytest.mark.parametrize("lmo", LMOS)
def test_every_series_has_positive_shares_that_sum_to_1(lmo: Any) -> None:
    series = power_series(lmo)
    assert all(share > 0 for _, share in series)
    assert math.fsum(share for _, share in series) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("lmo", LMOS)
def test_correlation_rises_from_0_to_1_below_the_diagonal(lmo: Any) -> None:
    values = [correlation(rho / 100, lmo) for rho in range(101)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0, pytest.approx(1, abs=1e-6))
    assert all(value <= rho / 100 + 1e-12 for rho, value in enumerate(values))


def test_equal_laws_have_equal_values() -> None:
    assert correlation(0.7, "sign") == correlation(0.7, ("vector", 1)) == correlation(0.7, ("spectral", 1, 1))
    assert correlation(0.7, ("spectral", 5, 1)) == correlation(0.7, ("vector", 5))
    assert correlation(0.7, ("vector", 10**7)) == pytest.approx(correlation(0.7, "linear"), abs=1e-6)


def test_values_of_the_theory_document_are_met() -> None:
    measured = {0.1: 0.076, 0.3: 0.221, 0.5: 0.374, 0.7: 0.548, 0.9: 0.786, 0.95: 0.862, 0.99: 0.961}
    for rho, value in measured.items():
        assert correlation(rho, ("spectral", 96, 96)) == pytest.approx(value, abs=0.008)


@pytest.mark.parametrize(
    "lmo",
    ["rms", "", ("vector",), ("vector", 0), ("vector", math.nan), ("vector", "8"), ("spectral", 8), ("sign", 3), 3],
)
def test_an_unknown_lmo_is_refused_with_the_legal_ones(lmo: Any) -> None:
    with pytest.raises(ValueError, match=r"^lmo is .*; it must be 'linear', 'sign', \('vector', d\)"):
        correlation(0.5, lmo)


@pytest.mark.parametrize("rho", [-0.1, 1.1, math.nan])
def test_a_correlation_out_of_range_is_named(rho: float) -> None:
    with pytest.raises(ValueError, match=r"^momentum_correlation is .*; it must be in \[0, 1"):
        correlation(rho, "sign")
