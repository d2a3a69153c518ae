"""ColNorm: the largest root mean square of a column."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from steadydecay.norms.protocol import LmoBlock
from steadydecay.tensors.fillable_weights import require_fillable
from steadydecay.tensors.unit_vectors import unit_vectors


@final
@dataclass(frozen=True)
class ColNorm:
    """The norm ‖w‖ = max_j RMS(w[:, j]), whose lmo brings each column to RMS 1, for weights (..., d_out, d_in)."""

    fewest_dimensions: ClassVar[int] = 2
    vector_dims: ClassVar[tuple[int, ...]] = (-2,)

    def lmo(self, gradient: Tensor) -> Tensor:
        return unit_vectors(gradient, dim=-2).mul_(math.sqrt(gradient.shape[-2])).to(gradient.dtype)

    def vector_length(self, shape: tuple[int, ...]) -> float:
        return math.sqrt(shape[-2])

    def norm(self, weight: Tensor) -> Tensor:
        return torch.linalg.vector_norm(weight, dim=-2).amax(dim=-1) / math.sqrt(weight.shape[-2])

    def dual_norm(self, gradient: Tensor) -> Tensor:
        return torch.linalg.vector_norm(gradient, dim=-2).sum(dim=-1) * math.sqrt(gradient.shape[-2])

    def init_(self, weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
        require_fillable(weight)
        with torch.no_grad():
            return weight.copy_(self.lmo(torch.randn(weight.shape, generator=generator, device=weight.device)))

    def lmo_blocks(self, shape: tuple[int, ...]) -> list[LmoBlock]:
        return [LmoBlock(("vector", shape[-2]), float(math.prod(shape)))] if 0 not in shape else []
