"""What an LMO does to the correlation of momentum: ⟨u_t, u_{t-k}⟩/E‖u‖² = φ(ρ_k) for Gaussian momentum.

The paper assumes φ(ρ) = ρ (arXiv 2512.08217, Sec. 2.2). That is right for vectors of many entries. Signs and matrices
forget faster, because their LMO is not linear.
"""

import math
from functools import lru_cache

from steadydecay.theory.polar_series import polar_series
from steadydecay.theory.power_series import IDENTITY, PowerSeries, lumped, value_at
from steadydecay.theory.unit_vector_series import unit_vector_series
from steadydecay.theory.validation import require_in

Lmo = str | tuple[str, float] | tuple[str, int, int]
"""The law by which an LMO preserves correlation: "linear", "sign", ("vector", d) or ("spectral", n, m)."""
LEGAL = "'linear', 'sign', ('vector', d) with d ≥ 1, or ('spectral', n, m) with n, m ≥ 1"


def correlation(momentum_correlation: float, lmo: Lmo = "linear") -> float:
    """Return φ(ρ), the correlation of two updates whose momenta have correlation ρ.

    Args:
        momentum_correlation: ρ in [0, 1].
        lmo: "linear" for the paper's φ(ρ) = ρ, "sign", ("vector", d) for d entries that are normalised together (RMS,
            rows or columns), or ("spectral", n, m) for the polar factor of an n×m matrix.

    Raises:
        ValueError: ρ is outside [0, 1], or the lmo is unknown.

    >>> round(correlation(0.5, "sign"), 3)  # (2/π) arcsin ½
    0.333
    >>> round(correlation(0.9, ("spectral", 96, 96)), 3)
    0.787
    """
    require_in("momentum_correlation", momentum_correlation, 0, math.nextafter(1, 2), include_low=True)
    return value_at(power_series(lmo), momentum_correlation)


@lru_cache(maxsize=4096)
def power_series(lmo: Lmo = "linear") -> PowerSeries:
    """Return φ as Σ_p a_p ρ^p with a_p ≥ 0 and Σ_p a_p = 1, accurate to 1e-3 on [0, 1].

    Args:
        lmo: As in `correlation`.

    Raises:
        ValueError: The lmo is unknown.

    >>> power_series("linear")
    (Term(power=1.0, share=1.0),)
    """
    match lmo:
        case "linear":
            return IDENTITY
        case "sign":
            return lumped(unit_vector_series(1))
        case ("vector", d) if _is_size(d):
            return lumped(unit_vector_series(d))
        case ("spectral", n, m) if _is_size(n) and _is_size(m):
            return lumped(polar_series(int(n), int(m)))
    raise ValueError(f"lmo is {lmo!r}; it must be {LEGAL}")


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and 1 <= value < math.inf
