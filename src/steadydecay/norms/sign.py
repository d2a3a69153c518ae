"""Sign: the largest entry, for output layers and embeddings."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from steadydecay.norms.protocol import LmoBlock
from steadydecay.tensors.fillable_weights import require_fillable


@final
@dataclass(frozen=True)
class Sign:
    """The norm ‖w‖ = d_in · max|w| with lmo(g) = sign(g) / d_in, for weights of shape (..., d_out, d_in)."""

    vector_dims: ClassVar[tuple[int, ...]] = ()
    fewest_dimensions: ClassVar[int] = 1

    def lmo(self, gradient: Tensor) -> Tensor:
        return gradient.sign().div_(gradient.shape[-1])

    def vector_length(self, shape: tuple[int, ...]) -> float:
        return 1 / shape[-1]

    def norm(self, weight: Tensor) -> Tensor:
        return weight.abs().amax(dim=(-2, -1)) * weight.shape[-1]

    def dual_norm(self, gradient: Tensor) -> Tensor:
        return gradient.abs().sum(dim=(-2, -1)) / gradient.shape[-1]

    def init_(self, weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
        require_fillable(weight)
        with torch.no_grad():
            fair_coin = torch.randint(0, 2, weight.shape, generator=generator, device=weight.device)
            return weight.copy_((2 * fair_coin - 1) / weight.shape[-1])

    def lmo_blocks(self, shape: tuple[int, ...]) -> list[LmoBlock]:
        return [LmoBlock("sign", math.prod(shape[:-1]) / shape[-1])] if 0 not in shape else []
