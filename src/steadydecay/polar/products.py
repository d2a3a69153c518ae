"""The products of which every form of Polar Express is made, here by torch for every device and dtype.

Operands are stacks (batch, n, n) or (batch, n, m) of one dtype on one device.
"""

from typing import Protocol, final

import torch
from torch import Tensor


class Products(Protocol):
    """A way to compute the products."""

    def gram(self, x: Tensor) -> Tensor:
        """Return xxᵀ (batch, n, n) as a new tensor. `x` may be a transposed view."""
        ...

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        """Return beta·addend + alpha·left·right, which is symmetric as all operands are and `left` and `right` commute.

        The result is a new tensor, or `out`, which must not be one of the operands.
        """
        ...

    def transform_(self, x: Tensor, scale: float, matrix: Tensor) -> None:
        """Compute x ← scale·x + matrix·x in place for a wide x, or x ← scale·x + x·matrix for a tall one."""
        ...


@final
class GemmProducts:
    """`Products` by torch's general functions."""

    def gram(self, x: Tensor) -> Tensor:
        return torch.bmm(x, x.mT)

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        return torch.baddbmm(addend, left, right, beta=beta, alpha=alpha, out=out)

    def transform_(self, x: Tensor, scale: float, matrix: Tensor) -> None:
        # Writing the result elsewhere would take a copy too, that of the addend.
        copy = x.clone()
        left, right = (copy, matrix) if is_tall(x) else (matrix, copy)
        torch.baddbmm(x, left, right, beta=scale, out=x)


GEMM_PRODUCTS = GemmProducts()


def is_tall(x: Tensor) -> bool:
    """Return whether matrices have more rows than columns."""
    return x.shape[-2] > x.shape[-1]
