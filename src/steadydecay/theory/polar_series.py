"""How correlated the polar factors UVᵀ of two correlated Gaussian matrices are.

For n×m matrices, n ≤ m, both large, with y = n/m, φ is exact by free probability. ``A (AᵀA)^(-1/2)`` expands in the
polynomials ``A U_j``, orthogonal under the Marchenko-Pastur law times x, a semicircle; the term of degree 2j+1 is
correlated as ρ^(2j+1) (Mehler). With x = |1+√y e^{iθ}|²:

    a_{2j+1} = [ (2/π) ∫₀^π sin((j+1)θ) sin θ / |1+√y e^{iθ}| dθ ]²

For square matrices that is a_p = (4(p+1) / (π p (p+2)))²: 8²/(3π)², 16²/(15π)², ... (docs/forecast_theory.md).
"""

import math
from collections.abc import Iterable, Iterator

from steadydecay.theory.power_series import Term, mixture
from steadydecay.theory.unit_vector_series import unit_vector_series

# Matrices whose √y is closer to 1 than this count as square, which changes φ by less than 1e-4.
SQUARE_FROM = 1 - 1e-4
SQUARE_TERMS = 4096


def polar_series(rows: int, columns: int) -> Iterable[Term]:
    """Return φ of the polar factor of n×m matrices: the limit of large matrices with a fitted correction of order 1/n.

    The correction mixes in the law of a vector of about m-n+1 entries, for the smallest singular value, and shifts y.
    Compared with Monte Carlo the error in φ is at most 0.0010 for n ≥ 8 and 0.005 for n = 2 to 7; n = 1 is exact
    (`benchmarks/polar_correlation.py`).

    Args:
        rows, columns: n, m ≥ 1, in either order.

    >>> list(polar_series(1, 5)) == list(unit_vector_series(5))
    True
    """
    n, m = sorted((rows, columns))
    excess = m - n
    if n == 1:
        return unit_vector_series(m)
    if excess == 0:
        weight, shape, entries = 1.6 / (n + 3), 1.0, 0.7
    else:
        weight, entries = 1.5 / (n + 0.5), excess + 1
        shape = min(1.0, (n + 2.5 * excess / (excess + 2 + 0.4 * (excess - 1) * (n / m) ** 2)) / m)
    return mixture([(1 - weight, large_polar_series(shape)), (weight, unit_vector_series(entries))])


def large_polar_series(shape: float) -> Iterator[Term]:
    """Return φ in the limit of large matrices.

    Args:
        shape: y = n/m in (0, 1].

    >>> round(next(large_polar_series(1.0)).share * (3 * math.pi / 8) ** 2, 12)
    1.0
    """
    ratio = math.sqrt(shape)
    return _square_terms() if ratio > SQUARE_FROM else _rectangular_terms(ratio)


def _square_terms() -> Iterator[Term]:
    remaining = 1.0
    for power in range(1, 2 * SQUARE_TERMS, 2):
        share = (4 * (power + 1) / (math.pi * power * (power + 2))) ** 2
        remaining -= share
        yield Term(power, share)
    yield Term(4 * SQUARE_TERMS, remaining)


def _rectangular_terms(ratio: float) -> Iterator[Term]:
    """Yield a_{2j+1} = (f_j - f_{j+2})², where (-1)^j f_j are the Fourier coefficients of 1/|1+re^{iθ}|."""
    coefficients = _fourier_coefficients(ratio)
    squares = [(late - early) ** 2 for early, late in zip(coefficients[2:], coefficients, strict=False)]
    total = math.fsum(squares)
    return (Term(2 * j + 1, square / total) for j, square in enumerate(squares))


def _fourier_coefficients(ratio: float) -> list[float]:
    """Return f_0, f_1, ... up to a factor, by Miller's backward recurrence, which is stable for sequences that fall as
    r^n:

    (n-½) r f_{n-1} = (1+r²) n f_n - (n+½) r f_{n+1}, from (1+r²+2r cos θ) f' = r sin θ f.
    """
    start = 10 + math.ceil(37 / -math.log(ratio))  # r^n is below the rounding error from there on
    later, present = 0.0, 1.0
    coefficients = [later, present]
    for n in range(start, 0, -1):
        earlier = ((1 + ratio**2) * n * present - (n + 0.5) * ratio * later) / ((n - 0.5) * ratio)
        later, present = present, earlier
        coefficients.append(present)
    return coefficients[::-1]
