"""The largest singular value by simultaneous iteration on stored vectors (Bauer, 1957).

One vector is not enough: in the first hundred steps of a GPT the top singular vectors change faster than one product
with MᵀM per report can follow (13 to 22 % off: benchmarks/spectral_tracking.py), and the products of 32 vectors cost
one pass over the weights, as those of one vector do. Everything consists of batched products and Cholesky factors, so
no call waits for the device.
"""

import torch
from torch import Tensor

VECTORS = 32
# Warm bases are within 0.4 % at every report of the mini GPT, every step or every tenth, from its first step on.
WARM_ITERATIONS = 3
# Cold ones are within 1 % on Gaussian matrices after 12 iterations, and after 48 where one singular value is 3 %
# above 1500 equal ones.
COLD_ITERATIONS = 48
# This is relative to columns of unit length. It keeps the Cholesky factor of dependent columns finite, and shortens
# only those.
SHIFT = 1e-5


def largest_singular_values(matrices: Tensor) -> Tensor:
    """Return σ_max of each matrix (k, n, m) in float64, at most 1 % too low, by `COLD_ITERATIONS` from a fixed start.

    >>> largest_singular_values(torch.diag(torch.tensor([3.0, 1.0, 2.0]))[None]).round(decimals=4)
    tensor([3.], dtype=torch.float64)
    """
    count, rows, columns = matrices.shape
    basis = starting_basis(count, rows, columns, matrices.device)
    of_image = image(matrices, basis)
    for _ in range(COLD_ITERATIONS - 1):
        basis = next_basis(of_image, basis)
        of_image = image(matrices, basis)
    return spectral_norms(image_gram(of_image))


def starting_basis(stacked: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """Return orthonormal vectors (stacked, columns, min(rows, columns, VECTORS)), equal on every rank and run."""
    generator = torch.Generator().manual_seed(0)
    gaussian = torch.randn(columns, min(rows, columns, VECTORS), generator=generator, dtype=torch.float64)
    return torch.linalg.qr(gaussian)[0].float().to(device).repeat(stacked, 1, 1)


def image(matrices: Tensor, basis: Tensor) -> Tensor:
    """Return MᵀMV for matrices (..., n, m) and vectors (..., m, r). It is additive over rows of M, so shards add up."""
    return matrices.mT @ (matrices @ basis)


def next_basis(of_image: Tensor, basis: Tensor) -> Tensor:
    """Return vectors (..., m, r) that span the image MᵀMV and are orthonormal, except for directions that it lacks.

    Columns of the old basis stay where the image is zero (a zero matrix may grow later) or not finite.
    """
    lengths = torch.linalg.vector_norm(of_image, dim=-2, keepdim=True)
    usable = (lengths > 0) & lengths.isfinite()
    columns = (of_image / lengths).where(usable, basis)
    gram = columns.mT @ columns
    # Multiply by the inverse of the small factor: solving for long columns takes four times as long.
    identity = torch.eye(gram.shape[-1], device=gram.device, dtype=gram.dtype)
    factor = torch.linalg.cholesky_ex(gram + SHIFT * identity)[0]
    return columns @ torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False).mT


def image_gram(of_image: Tensor) -> Tensor:
    """Return (MᵀMV)ᵀ(MᵀMV) of shape (..., r, r), whose largest eigenvalue approaches σ_max⁴ from below."""
    return of_image.mT @ of_image


def spectral_norms(grams: Tensor) -> Tensor:
    """Return σ_max from each `image_gram` (..., r, r) in float64, or NaN where that is not finite.

    >>> spectral_norms(torch.tensor([[[16.0]], [[float("nan")]]]))
    tensor([2., nan], dtype=torch.float64)
    """
    grams = grams.double()
    is_finite = grams.isfinite().all(dim=(-2, -1))
    largest = torch.linalg.eigvalsh(grams.where(is_finite[..., None, None], 0))[..., -1].clamp(min=0)
    return (largest**0.25).where(is_finite, torch.nan)
