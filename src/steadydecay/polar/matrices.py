"""What a stack of matrices must be."""

from torch import Tensor


def require_matrices(matrices: Tensor) -> None:
    """Raises ValueError below two dimensions."""
    if matrices.ndim < 2:
        raise ValueError(f"matrices has shape {tuple(matrices.shape)}; legal is (..., rows, columns)")
