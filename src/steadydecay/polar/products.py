"""The products of which every form of Polar Express is made; as torch's general ones, for every device and dtype.

Operands are stacks (batch, n, n) or (batch, n, m) of one dtype on one device.
"""

from typing import Protocol, final

import torch
from torch import Tensor


class Products(Protocol):
    """A way to compute them."""

    def gram(self, x: Tensor) -> Tensor:
        """xxᵀ, (batch, n, n), a new tensor; x may be a transposed view."""
        ...

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        """beta·addend + alpha·left·right, known to be symmetric: addend is, and left and right are and commute.

        A new tensor, or `out`, which is none of the operands.
        """
        ...

    def transform_(self, x: Tensor, scale: float, matrix: Tensor) -> None:
        """In place x ← scale·x + matrix·x of a wide x, x ← scale·x + x·matrix of a tall one."""
        ...


@final
class GemmProducts:
    """torch's products."""

    def gram(self, x: Tensor) -> Tensor:
        return torch.bmm(x, x.mT)

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        return torch.baddbmm(addend, left, right, beta=beta, alpha=alpha, out=out)

    def transform_(self, x: Tensor, scale: float, matrix: Tensor) -> None:
        # A result elsewhere would take a copy too: of the addend.
        copy = x.clone()
        left, right = (copy, matrix) if is_tall(x) else (matrix, copy)
        torch.baddbmm(x, left, right, beta=scale, out=x)


GEMM_PRODUCTS = GemmProducts()


def is_tall(x: Tensor) -> bool:
    """More rows than columns."""
    return x.shape[-2] > x.shape[-1]
