import math

import numpy as np
import pytest

from steadydecay.theory.power_series import IDENTITY, Term, lumped, mixture, value_at

ODD_POWERS = range(1, 20_001, 2)


def arcsine_like() -> list[Term]:
    shares = [power**-1.5 for power in ODD_POWERS]
    return [Term(power, share / math.fsum(shares)) for power, share in zip(ODD_POWERS, shares, strict=True)]


def test_a_lumped_series_keeps_mass_mean_and_low_powers() -> None:
    terms = arcsine_like()
    short = lumped(terms)
    assert len(short) < 30
    assert short[:4] == tuple(terms[:4])
    assert math.fsum(share for _, share in short) == pytest.approx(1, abs=1e-12)
    mean = math.fsum(power * share for power, share in terms)
    assert math.fsum(power * share for power, share in short) == pytest.approx(mean, rel=1e-9)


def test_a_lumped_series_has_nearly_the_same_values() -> None:
    terms = arcsine_like()
    short = lumped(terms)
    powers, shares = np.array(terms).T
    for rho in (0.1, 0.5, 0.8, 0.9, 0.97, 0.99, 0.999, 0.9999):
        assert value_at(short, rho) == pytest.approx(float((shares * rho**powers).sum()), abs=2e-4)


def test_terms_of_one_power_are_added_up() -> None:
    series = lumped(mixture([(0.25, [Term(1, 1.0)]), (0.75, [Term(1, 0.5), Term(3, 0.5)])]))
    assert series == (Term(1, 0.625), Term(3, 0.375))


def test_octaves_without_mass_are_left_out() -> None:
    assert lumped([Term(1, 1.0), Term(3, 0.0), Term(9, 1e-12)]) == IDENTITY
