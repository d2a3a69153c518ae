"""RowNorm: the largest length of a row."""

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
class RowNorm:
    """The norm ‖w‖ = √d_in · max_i ‖w[i]‖₂, whose lmo gives rows the length 1/√d_in, for weights (..., d_out, d_in)."""

    vector_dims: ClassVar[tuple[int, ...]] = (-1,)
    fewest_dimensions: ClassVar[int] = 1

    def lmo(self, gradient: Tensor) -> Tensor:
        return unit_vectors(gradient, dim=-1).div_(math.sqrt(gradient.shape[-1])).to(gradient.dtype)

    def vector_length(self, shape: tuple[int, ...]) -> float:
        return 1 / math.sqrt(shape[-1])

    def norm(self, weight: Tensor) -> Tensor:
        return torch.linalg.vector_norm(weight, dim=-1).amax(dim=-1) * math.sqrt(weight.shape[-1])

    def dual_norm(self, gradient: Tensor) -> Tensor:
        return torch.linalg.vector_norm(gradient, dim=-1).sum(dim=-1) / math.sqrt(gradient.shape[-1])

    def init_(self, weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
        require_fillable(weight)
        with torch.no_grad():
            return weight.copy_(self.lmo(torch.randn(weight.shape, generator=generator, device=weight.device)))

    def lmo_blocks(self, shape: tuple[int, ...]) -> list[LmoBlock]:
        return [LmoBlock(("vector", shape[-1]), math.prod(shape[:-1]) / shape[-1])] if 0 not in shape else []
