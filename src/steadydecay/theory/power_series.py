"""Power series Σ_p a_p ρ^p with a_p ≥ 0 and Σ_p a_p = 1, kept short by merging neighbouring high powers."""

import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

# Powers below this one are kept; above it each octave becomes two terms, which changes φ by less than 2e-4.
LOWEST_LUMPED = 8
# Octaves whose mass is less than this are left out.
SMALLEST_MASS = 1e-9


class Term(NamedTuple):
    """A term a_p ρ^p. The power of a merged term need not be a whole number."""

    power: float
    share: float


PowerSeries = tuple[Term, ...]
IDENTITY: PowerSeries = (Term(1.0, 1.0),)


def value_at(series: PowerSeries, correlation: float) -> float:
    """Return Σ_p a_p ρ^p for ρ in [0, 1].

    >>> value_at(IDENTITY, 0.25)
    0.25
    """
    return math.fsum(share * correlation**power for power, share in series)


def mixture(parts: Iterable[tuple[float, Iterable[Term]]]) -> list[Term]:
    """Return Σ_i w_i φ_i by ascending power, for weights w_i ≥ 0 that sum to 1."""
    weighted = (Term(power, weight * share) for weight, terms in parts for power, share in terms)
    return sorted(weighted)


def lumped(terms: Iterable[Term]) -> PowerSeries:
    """Return a short series for a long one by ascending power. Two terms for each octave keep Σa, Σap and Σap².

    >>> short = lumped(Term(p, 1 / 500) for p in range(1, 1000, 2))
    >>> len(short), round(sum(share for _, share in short), 12)
    (18, 1.0)
    """
    return tuple(short for _, octave in groupby(terms, _octave) for short in _two_terms(list(octave)))


def _octave(term: Term) -> float:
    return term.power if term.power < LOWEST_LUMPED else LOWEST_LUMPED * math.frexp(term.power)[1]


def _two_terms(terms: list[Term]) -> Iterator[Term]:
    mass = math.fsum(share for _, share in terms)
    if mass < SMALLEST_MASS:
        return
    mean = math.fsum(power * share for power, share in terms) / mass
    variance = math.fsum((power - mean) ** 2 * share for power, share in terms) / mass
    if variance == 0:
        yield Term(mean, mass)
    else:
        yield Term(mean - math.sqrt(variance), mass / 2)
        yield Term(mean + math.sqrt(variance), mass / 2)
