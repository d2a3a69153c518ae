"""Symmetric products on CUDA at half the work."""

from typing import final

from torch import Tensor

from steadydecay.polar.products import GEMM_PRODUCTS


@final
class TritonProducts:
    """`Products` by `steadydecay.polar.gpu.triton_kernels`. They are bitwise symmetric; torch only transforms x.

    Raises:
        ImportError: Triton is not installed.
    """

    def __init__(self) -> None:
        from steadydecay.polar.gpu.triton_kernels import symmetric_product

        self._symmetric_product = symmetric_product

    def gram(self, x: Tensor) -> Tensor:
        return self._symmetric_product(x, x.mT)

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        return self._symmetric_product(left, right, addend, beta, alpha, out)

    def transform_(self, x: Tensor, scale: float, matrix: Tensor) -> None:
        GEMM_PRODUCTS.transform_(x, scale, matrix)
