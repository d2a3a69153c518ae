"""Spectral: the largest singular value, for matrices."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Literal, final, get_args

import torch
from torch import Tensor

from steadydecay.norms.protocol import LmoBlock, LmoCost
from steadydecay.polar import polar_express_of_each
from steadydecay.polar.choice import ProductsName, chosen_dtype, require_products_name
from steadydecay.polar.cost import multiplications, workspace_bytes
from steadydecay.tensors.fillable_weights import require_fillable

Scale = Literal["rms", "max", "none"]


@final
@dataclass(frozen=True)
class Spectral:
    """‖w‖ = σ_max(w) / s, lmo = s · UVᵀ, for weights of shape (..., d_out, d_in).

    Attributes:
        scale: s = √(d_out/d_in) for "rms" (RMS-to-RMS operator norm), max(1, √(d_out/d_in)) for "max", 1 for "none".
        split_sizes: rows of each of several matrices fused along d_out (query, key and value, say); each gets an lmo
            of its own with its own d_out, the norm is their maximum. Matrices stacked as (3, d, d) need no split.
        transposed: weights are stored as (..., d_in, d_out).
        steps: Polar Express iterations; 5 leave singular values of a well-conditioned matrix within 0.13 of 1.
        products: whose products of matrices; as in `steadydecay.polar.polar_express`.

    Raises:
        ValueError: unknown scale or products, steps below 1, or split sizes that are not positive.
    """

    fewest_dimensions: ClassVar[int] = 2

    scale: Scale = "rms"
    split_sizes: tuple[int, ...] | None = None
    transposed: bool = False
    steps: int = 5
    products: ProductsName = "torch"

    def __post_init__(self) -> None:
        if self.scale not in get_args(Scale):
            raise ValueError(f"scale is {self.scale!r}; legal are {', '.join(map(repr, get_args(Scale)))}")
        require_products_name(self.products)
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps!r}; legal is 1 or more")
        if self.split_sizes is not None and not all(size > 0 for size in self.split_sizes):
            raise ValueError(f"split_sizes is {self.split_sizes!r}; legal are positive numbers of rows")

    def lmo(self, gradient: Tensor) -> Tensor:
        return self.lmo_of_each([gradient])[0].to(gradient.dtype)

    def lmo_of_each(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """lmo of gradients of one shape; their blocks of one height are one stack."""
        heights = self._heights(gradients[0].shape[-1 if self.transposed else -2])
        weights = [gradient.mT for gradient in gradients] if self.transposed else gradients
        if len(heights) == 1:
            lmos = self._scaled_polar(weights)
        elif len(set(heights)) == 1:
            even = (len(heights), heights[0])
            lmos = self._scaled_polar([weight.unflatten(-2, even) for weight in weights]).flatten(-3, -2)
        else:
            blocks = zip(*map(self._blocks, gradients), strict=True)
            lmos = torch.cat([self._scaled_polar(equal) for equal in blocks], dim=-2)
        return (lmos.mT if self.transposed else lmos).unbind()

    def lmo_cost(self, gradient: Tensor) -> LmoCost:
        blocks = self._blocks(gradient)
        multiplied = sum(multiplications(block, self.steps) for block in blocks)
        return LmoCost(multiplied, sum(workspace_bytes(block, self.steps) for block in blocks))

    def lmo_dtype(self, gradient: Tensor) -> torch.dtype:
        """In which the products are computed; of blocks in two dtypes the wider one."""
        dtypes = (chosen_dtype(block, self.steps) for block in self._blocks(gradient))
        return reduce(torch.promote_types, dtypes)

    def norm(self, weight: Tensor) -> Tensor:
        norms = [_singular_values(block).amax(dim=-1) / self._factor(block.shape) for block in self._blocks(weight)]
        return torch.stack(norms).amax(dim=0)

    def dual_norm(self, gradient: Tensor) -> Tensor:
        duals = [_singular_values(block).sum(dim=-1) * self._factor(block.shape) for block in self._blocks(gradient)]
        return torch.stack(duals).sum(dim=0)

    def init_(self, weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
        require_fillable(weight)
        with torch.no_grad():
            for block in self._blocks(weight):
                block.copy_(random_orthogonal(block, generator) * self._factor(block.shape))
        return weight

    def lmo_blocks(self, shape: tuple[int, ...]) -> list[LmoBlock]:
        *batch, rows, columns = shape
        if self.transposed:
            rows, columns = columns, rows
        heights = Counter(self._heights(rows)) if 0 not in shape else {}
        return [
            LmoBlock(
                ("spectral", min(height, columns), max(height, columns)),
                math.prod(batch) * count * self._factor((height, columns)) ** 2 * min(height, columns),
            )
            for height, count in heights.items()
        ]

    def _scaled_polar(self, matrices: Sequence[Tensor]) -> Tensor:
        first = matrices[0]
        polar = polar_express_of_each(matrices, self.steps, scale=self._factor(first.shape), products=self.products)
        # On a CPU in the dtype of the products: it is converted where it is used, some rows at a time.
        return polar if first.is_cpu else polar.to(first.dtype)

    def _factor(self, shape: tuple[int, ...]) -> float:
        ratio = math.sqrt(shape[-2] / shape[-1]) if shape[-1] else 1.0
        return {"rms": ratio, "max": max(1.0, ratio), "none": 1.0}[self.scale]

    def _blocks(self, weight: Tensor) -> tuple[Tensor, ...]:
        """The matrices in a weight, as views of shape (..., d_out, d_in)."""
        weight = weight.mT if self.transposed else weight
        return weight.split(self._heights(weight.shape[-2]), dim=-2)

    def _heights(self, rows: int) -> list[int]:
        heights = list(self.split_sizes or (rows,))
        if sum(heights) != rows:
            raise ValueError(f"split_sizes is {self.split_sizes!r} with sum {sum(heights)}; the weight has {rows} rows")
        return heights


def random_orthogonal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniformly distributed semi-orthogonal matrices of the shape (..., n, m) and device of `like`, in float32."""
    *batch, rows, columns = like.shape
    tall_shape = (*batch, max(rows, columns), min(rows, columns))
    q, r = torch.linalg.qr(torch.randn(tall_shape, generator=generator, device=like.device))
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return q if rows >= columns else q.mT


def _singular_values(matrices: Tensor) -> Tensor:
    return torch.linalg.svdvals(matrices.to(torch.promote_types(matrices.dtype, torch.float32)))
