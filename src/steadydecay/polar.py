"""The polar factor UVᵀ of matrices: Polar Express by products alone, and its exact float64 twin by SVD."""

from itertools import chain, islice, repeat

import torch
from torch import Tensor

from steadydecay.unit_vectors import unit_vectors

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
# Rounding may lift a singular value above the interval of the next polynomial, where it would diverge.
SAFETY_FACTOR = 1.01


def coefficients(steps: int) -> list[tuple[float, float, float]]:
    """(a, b, c) of p(x) = ax + bx³ + cx⁵ for each step, safety factor included (arXiv 2505.16932, Algorithm 1).

    Args:
        steps: number of iterations, ≥ 1; from the eighth on they repeat.

    Raises:
        ValueError: steps below 1.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps!r}; legal is 1 or more (5 leaves singular values within 0.13 of 1)")
    safe = ((a / SAFETY_FACTOR, b / SAFETY_FACTOR**3, c / SAFETY_FACTOR**5) for a, b, c in PUBLISHED_COEFFICIENTS)
    return list(islice(chain(safe, repeat(LAST_COEFFICIENTS)), steps))


def polar_express(matrices: Tensor, steps: int = 5, compute_dtype: torch.dtype | None = None) -> Tensor:
    """Approximate UVᵀ of each matrix, where USVᵀ is its singular value decomposition (arXiv 2505.16932).

    Scale-invariant down to the smallest number of the dtype; zero gives zero; NaN and infinity give NaN.

    Args:
        matrices: (..., n, m), any leading dimensions, any of them empty; not written to.
        steps: iterations, ≥ 1. Five leave singular values of a well-conditioned matrix within 0.13 of 1.
        compute_dtype: of the products; by default bfloat16 on CUDA and the dtype of `matrices` elsewhere.

    Returns:
        (..., n, m) in the dtype of `matrices`.

    Raises:
        ValueError: fewer than two dimensions, or steps below 1.
    """
    _require_matrices(matrices)
    dtype = compute_dtype or (torch.bfloat16 if matrices.is_cuda else matrices.dtype)
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = unit_vectors(matrices.mT if is_tall else matrices, dim=(-2, -1)).div_(SAFETY_FACTOR).to(dtype)
    for a, b, c in coefficients(steps):
        x = _polynomial_step(x, a, b, c)
    return (x.mT if is_tall else x).to(matrices.dtype)


def exact_polar(matrices: Tensor) -> Tensor:
    """UVᵀ by SVD in float64; directions with a singular value of zero stay zero. Arguments as `polar_express`."""
    _require_matrices(matrices)
    u, s, vh = torch.linalg.svd(matrices.double(), full_matrices=False)
    largest = s[..., :1] if s.shape[-1] else s
    is_nonzero = s > largest * max(matrices.shape[-2:]) * torch.finfo(torch.float64).eps
    return (u * is_nonzero.unsqueeze(-2)) @ vh


def _polynomial_step(x: Tensor, a: float, b: float, c: float) -> Tensor:
    gram = x @ x.mT
    return a * x + (b * gram + c * (gram @ gram)) @ x


def _require_matrices(matrices: Tensor) -> None:
    if matrices.ndim < 2:
        raise ValueError(f"matrices has shape {tuple(matrices.shape)}; legal is (..., rows, columns)")
