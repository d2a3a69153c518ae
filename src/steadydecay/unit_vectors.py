"""Vectors of unit length at any scale."""

import torch
from torch import Tensor


def unit_vectors(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """x / ‖x‖₂ over `dim`, in float32 or better; zero gives zero, without an epsilon that would set a scale.

    Divides by the largest entry first: the square of 1e-30 is zero in float32, and that of 1e30 infinite.

    Args:
        x: any shape; not written to.
        dim: dimension or dimensions that make up one vector.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if x.numel() == 0:
        return x.clone()
    largest = x.abs().amax(dim=dim, keepdim=True)
    x = x / largest.where(largest != 0, 1)
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / norm.where(norm != 0, 1)
