"""φ_d: how correlated two correlated Gaussian vectors of d entries are, once both have unit length.

φ_d(ρ) = c_d ρ ₂F₁(½, ½; d/2+1; ρ²), c_d = Γ((d+1)/2)² / (Γ(d/2) Γ(d/2+1)). d = 1 is the arcsine law of signs,
φ_1(ρ) = (2/π) arcsin ρ; d → ∞ is the identity.
"""

import math
from collections.abc import Iterator

from steadydecay.theory.power_series import Term

# From here on the coefficients follow their power law to four digits, and every octave becomes one term.
FIRST_OF_POWER_LAW = 1024
SMALLEST_TAIL = 4e-4


def unit_vector_series(entries: float) -> Iterator[Term]:
    """Yield the terms of φ_d by ascending power; the ratio of neighbours is (k+½)² / ((d/2+1+k)(k+1)) for the powers
    2k+1.

    Args:
        entries: d > 0, which need not be a whole number.

    >>> round(next(unit_vector_series(1)).share * math.pi / 2, 12)
    1.0
    >>> round(next(unit_vector_series(1000)).share, 3)
    1.0
    """
    log_first = 2 * math.lgamma((entries + 1) / 2) - math.lgamma(entries / 2) - math.lgamma(entries / 2 + 1)
    share, remaining = math.exp(log_first), 1.0
    for k in range(FIRST_OF_POWER_LAW // 2):
        yield Term(2 * k + 1, share)
        remaining -= share
        share *= (k + 0.5) ** 2 / ((entries / 2 + 1 + k) * (k + 1))
    yield from _tail(max(remaining, 0.0), exponent=entries / 2)


def _tail(remaining: float, exponent: float) -> Iterator[Term]:
    """Yield the tail a_p ∝ p^(-1-d/2), whose mass beyond p falls as p^(-d/2)."""
    power = float(FIRST_OF_POWER_LAW)
    while remaining > SMALLEST_TAIL:
        beyond = remaining * 2**-exponent
        yield Term(power * math.sqrt(2), remaining - beyond)
        power, remaining = 2 * power, beyond
    if remaining > 0:
        yield Term(power * math.sqrt(2), remaining)
