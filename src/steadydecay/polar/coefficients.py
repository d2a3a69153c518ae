"""The polynomials of the Polar Express (arXiv 2505.16932)."""

from itertools import chain, islice, repeat

PUBLISHED_COEFFICIENTS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
LAST_COEFFICIENTS = (1.875, -1.25, 0.375)
# Rounding may lift a singular value above the interval of the next polynomial, outside of which it would diverge.
SAFETY_FACTOR = 1.01


def coefficients(steps: int) -> list[tuple[float, float, float]]:
    """Return (a, b, c) of p(x) = ax + bx³ + cx⁵ for each step, including the safety factor (arXiv 2505.16932, Algorithm
    1).

    Args:
        steps: The number of iterations, 1 or more. From the eighth on the coefficients repeat.

    Raises:
        ValueError: `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps!r}; it must be 1 or more (5 leave singular values within 0.13 of 1)")
    safe = ((a / SAFETY_FACTOR, b / SAFETY_FACTOR**3, c / SAFETY_FACTOR**5) for a, b, c in PUBLISHED_COEFFICIENTS)
    return list(islice(chain(safe, repeat(LAST_COEFFICIENTS)), steps))
