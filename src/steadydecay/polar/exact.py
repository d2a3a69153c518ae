"""The polar factor in float64 by a singular value decomposition. It is slow; the fast forms are tested against it."""

import torch
from torch import Tensor

from steadydecay.polar.matrices import require_matrices


def exact_polar(matrices: Tensor) -> Tensor:
    """Return UVᵀ by an SVD in float64, as `polar_express` does. Directions with a singular value of zero stay zero."""
    require_matrices(matrices)
    u, s, vh = torch.linalg.svd(matrices.double(), full_matrices=False)
    largest = s[..., :1] if s.shape[-1] else s
    is_nonzero = s > largest * max(matrices.shape[-2:]) * torch.finfo(torch.float64).eps
    return (u * is_nonzero.unsqueeze(-2)) @ vh
