"""Bias: the root mean square of a vector."""

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
class Bias:
    """The norm ‖b‖ = RMS(b) with lmo(g) = g / RMS(g), for vectors of shape (..., d). A scalar counts as a vector."""

    vector_dims: ClassVar[tuple[int, ...]] = (-1,)

    def lmo(self, gradient: Tensor) -> Tensor:
        return unit_vectors(gradient, dim=-1).mul_(math.sqrt(_length(gradient.shape))).to(gradient.dtype)

    def vector_length(self, shape: tuple[int, ...]) -> float:
        return math.sqrt(_length(shape))

    def norm(self, weight: Tensor) -> Tensor:
        return torch.linalg.vector_norm(weight, dim=-1) / math.sqrt(_length(weight.shape))

    def dual_norm(self, gradient: Tensor) -> Tensor:
        return torch.linalg.vector_norm(gradient, dim=-1) * math.sqrt(_length(gradient.shape))

    def init_(self, weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
        require_fillable(weight)
        with torch.no_grad():
            return weight.copy_(self.lmo(torch.randn(weight.shape, generator=generator, device=weight.device)))

    def lmo_blocks(self, shape: tuple[int, ...]) -> list[LmoBlock]:
        return [LmoBlock(("vector", _length(shape)), float(math.prod(shape)))] if 0 not in shape else []


def _length(shape: tuple[int, ...]) -> int:
    return shape[-1] if shape else 1
