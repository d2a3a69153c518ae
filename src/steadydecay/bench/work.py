"""How many floating-point operations the polar factor of a matrix takes, by the order of its products."""

from collections.abc import Sequence

import torch

from steadydecay.bench.shape_sets import Entry
from steadydecay.polar.forms import SEGMENTS

STEPS = 5
PLAIN = (1,) * STEPS


def polar_work(shape: tuple[int, int], segments: Sequence[int]) -> int:
    """FLOPs of the products on one matrix; the halves that symmetry makes equal are counted twice, norms not at all.

    Args:
        shape: (rows, columns), in either order.
        segments: steps from one fresh Gram matrix to the next; ones are the plain form, X ← aX + (bG + cG²)X, G = XXᵀ.

    Of an n×m matrix, n ≤ m, a segment takes XXᵀ and the product with X, 2n²m each; its first step G² is 2n³, each
    further one four products (two for G, one for its square, one for the polynomial so far).

    >>> n, m = 768, 3072
    >>> polar_work((n, m), PLAIN) == 5 * (4 * n**2 * m + 2 * n**3)
    True
    >>> polar_work((m, n), (2, 1, 2)) == 12 * n**2 * m + 22 * n**3
    True
    """
    n, m = sorted(shape)
    return sum(4 * n * n * m + 2 * n**3 + 8 * n**3 * (length - 1) for length in segments)


def plain_work(entries: Sequence[Entry]) -> int:
    """FLOPs of the plain form on every hidden matrix."""
    return sum(polar_work(shape, PLAIN) for shape in hidden_shapes(entries))


def least_work(entries: Sequence[Entry], dtype: torch.dtype) -> int:
    """FLOPs of the form with the fewest on each hidden matrix, of those that are accurate enough in `dtype`."""
    forms = (PLAIN, SEGMENTS[dtype])
    return sum(min(polar_work(shape, form) for form in forms) for shape in hidden_shapes(entries))


def hidden_shapes(entries: Sequence[Entry]) -> list[tuple[int, int]]:
    return [(shape[0], shape[1]) for _, shape, role in entries if role == "hidden"]
