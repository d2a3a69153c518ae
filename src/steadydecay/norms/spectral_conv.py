"""SpectralConv: the largest singular value of a convolution kernel seen as one matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from steadydecay.norms.protocol import LmoBlock, LmoCost
from steadydecay.norms.spectral import Spectral
from steadydecay.polar.choice import ProductsName, require_products_name
from steadydecay.tensors.fillable_weights import require_fillable


@final
@dataclass(frozen=True)
class SpectralConv:
    """The norm ‖w‖ = σ_max(W) / s with lmo(g) = s · UVᵀ, where W is the kernel as a matrix (d_out, d_in · k).

    Kernels have the shape (..., d_out, d_in, k₁, ..., k_n). Here k = k₁⋯k_n is the number of taps and s = √(d_out/d_in)
    / k (arXiv 2502.07529).

    Attributes:
        spatial_dims: The number n of spatial dimensions, 1 to 3 in torch's convolutions.
        steps: The number of Polar Express iterations, 1 or more.
        products: The implementation of the matrix products, as in `steadydecay.polar.polar_express`.

    Raises:
        ValueError: `spatial_dims` or `steps` is below 1, or `products` is unknown.
    """

    spatial_dims: int = 2
    steps: int = 5
    products: ProductsName = "torch"

    def __post_init__(self) -> None:
        require_products_name(self.products)
        if self.spatial_dims < 1:
            raise ValueError(f"spatial_dims is {self.spatial_dims!r}; it must be 1 or more (Conv1d has 1)")

    @property
    def fewest_dimensions(self) -> int:
        return 2 + self.spatial_dims

    def lmo(self, gradient: Tensor) -> Tensor:
        return self.lmo_of_each([gradient])[0]

    def lmo_of_each(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the LMOs of gradients of one shape, computed as one stack."""
        shape = gradients[0].shape
        lmos = self._matrix_norm.lmo_of_each([self._as_matrix(gradient) for gradient in gradients])
        return [lmo.to(gradients[0].dtype).mul_(self._factor(shape)).view(shape) for lmo in lmos]

    def lmo_cost(self, gradient: Tensor) -> LmoCost:
        multiplied, workspace_bytes = self._matrix_norm.lmo_cost(self._as_matrix(gradient))
        return LmoCost(multiplied, workspace_bytes + gradient.nbytes)

    def lmo_dtype(self, gradient: Tensor) -> torch.dtype:
        return gradient.dtype

    def norm(self, weight: Tensor) -> Tensor:
        return self._matrix_norm.norm(self._as_matrix(weight)) / self._factor(weight.shape)

    def dual_norm(self, gradient: Tensor) -> Tensor:
        return self._matrix_norm.dual_norm(self._as_matrix(gradient)) * self._factor(gradient.shape)

    def init_(self, weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
        require_fillable(weight)
        with torch.no_grad():
            matrix = self._matrix_norm.init_(torch.empty_like(self._as_matrix(weight)), generator)
            return weight.copy_((matrix * self._factor(weight.shape)).view(weight.shape))

    def lmo_blocks(self, shape: tuple[int, ...]) -> list[LmoBlock]:
        batch, (d_out, d_in, taps) = shape[: -2 - self.spatial_dims], self._sizes(shape)
        factor_sq = self._factor(shape) ** 2
        blocks = self._matrix_norm.lmo_blocks((*batch, d_out, d_in * taps))
        return [LmoBlock(lmo, factor_sq * norm_sq) for lmo, norm_sq in blocks]

    @property
    def _matrix_norm(self) -> Spectral:
        return Spectral(scale="none", steps=self.steps, products=self.products)

    def _as_matrix(self, kernel: Tensor) -> Tensor:
        self._sizes(kernel.shape)
        return kernel.flatten(start_dim=-1 - self.spatial_dims)

    def _factor(self, shape: tuple[int, ...]) -> float:
        d_out, d_in, taps = self._sizes(shape)
        return math.sqrt(d_out / d_in) / taps if d_in * taps else 1.0

    def _sizes(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        if len(shape) < 2 + self.spatial_dims:
            wanted = f"(..., d_out, d_in) followed by {self.spatial_dims} spatial dimensions"
            raise ValueError(f"kernel has shape {tuple(shape)}; it must be {wanted}")
        d_out, d_in, *taps = shape[-2 - self.spatial_dims :]
        return d_out, d_in, math.prod(taps)
