"""Check that a tensor is a stack of matrices."""

from torch import Tensor


def require_matrices(matrices: Tensor) -> None:
    """Raise ValueError if the tensor has fewer than two dimensions."""
    if matrices.ndim < 2:
        raise ValueError(f"matrices has shape {tuple(matrices.shape)}; it must be (..., rows, columns)")
