"""The largest singular value by power iteration on stored vectors (Mises and Pollaczek-Geiringer, 1929)."""

import torch
from torch import Tensor

from steadydecay.unit_vectors import unit_vectors

# One iteration from a random vector reports 19.4 where the truth is 27.4. The error falls as (ln n)/k whatever the
# spectrum (Kuczyński and Woźniakowski, 1992), so the first call takes enough steps to be right to a percent.
COLD_ITERATIONS = 100


def power_iteration(
    matrices: Tensor, right_vectors: Tensor | None = None, iterations: int | None = None
) -> tuple[Tensor, Tensor]:
    """Estimate σ_max of each matrix from below, and the right singular vectors to start from next time.

    Args:
        matrices: (..., n, m), not empty.
        right_vectors: (..., m), from the call before; None starts from a fixed pseudo-random direction.
        iterations: products with MᵀM, ≥ 1; by default 1 from stored vectors, `COLD_ITERATIONS` from none.

    Returns:
        σ of shape (...), zero for a zero matrix, and unit right vectors (..., m).

    Raises:
        ValueError: iterations below 1.
    """
    is_cold = right_vectors is None
    steps = iterations if iterations is not None else (COLD_ITERATIONS if is_cold else 1)
    if steps < 1:
        raise ValueError(f"iterations is {steps!r}; legal is 1 or more")
    vectors = _starting_vectors(matrices) if right_vectors is None else right_vectors
    for _ in range(steps):
        image = unit_vectors(_apply(matrices.mT, _apply(matrices, vectors)), dim=-1)
        # A zero matrix maps to zero: keep the vectors, so that they can grow again with the matrix.
        vectors = torch.where(image.any(dim=-1, keepdim=True), image, vectors)
    return _apply(matrices, vectors).norm(dim=-1), vectors


def _apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    return (matrices @ vectors.unsqueeze(-1)).squeeze(-1)


def _starting_vectors(matrices: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(matrices.shape[-1], generator=generator, dtype=torch.float64)
    vector = (vector / vector.norm()).to(matrices.device, matrices.dtype)
    return vector.expand(*matrices.shape[:-2], -1)
