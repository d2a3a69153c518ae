"""Products of one large matrix at a time on a CPU. They use mm, because bmm takes a third longer on tall ones on some
CPUs.

Symmetric products are computed in panels: some rows up to the end of their block on the diagonal, which are then
mirrored.
"""

from typing import final

import torch
from torch import Tensor

from steadydecay.polar.products import is_tall

# Numbers of multiplications: of a Gram matrix from which on matrices had better not be multiplied as a stack, and of a
# whole symmetric product for each of its panels, of which one would be that product. Two panels of 384 rows save
# nothing in float32, four save a sixth; in bfloat16 more than two save no more.
SMALLEST_ALONE = {torch.float32: 5 * 10**7, torch.bfloat16: 2 * 10**8}
LEAST_OF_A_PANEL = {torch.float32: 14 * 10**6, torch.bfloat16: 25 * 10**6}
MOST_PANELS = 4
# With AMX whole products in bfloat16 are so fast that panels cost a tenth of a step. Without it they save a seventh.
HAS_AMX = torch.cpu._is_amx_tile_supported()
# A block of an n×m matrix is two squares, which takes no more memory than the Gram form took a moment before. It is
# larger if there would otherwise be many blocks with hardly any work each.
BLOCK_SQUARES, MOST_BLOCKS = 2, 8


@final
class SingleProducts:
    """`Products` whose operands are single matrices (n, n) or (n, m), not stacks."""

    def gram(self, x: Tensor) -> Tensor:
        panels = _panel_count(x, x)
        if panels > 1:
            return _product_by_panels(panels, x, x, x.new_empty(len(x), len(x)))
        return torch.mm(x, x.t())

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        panels = _panel_count(left, right)
        if panels > 1:
            out = torch.empty_like(addend) if out is None else out
            return _product_by_panels(panels, left, right, out, addend, beta, alpha)
        return torch.addmm(addend, left, right, beta=beta, alpha=alpha, out=out)

    def transform_(self, x: Tensor, scale: float, matrix: Tensor) -> None:
        is_left = is_tall(x)
        for block in x.split(block_length(x.shape), dim=0 if is_left else 1):
            # The copy has no name, so that it is freed before the next is made.
            block.addmm_(*_factors(block.clone(), matrix, is_left), beta=scale)


SINGLE_PRODUCTS = SingleProducts()


def is_alone_faster(shape: torch.Size, dtype: torch.dtype) -> bool:
    """Return whether matrices of this shape (..., n, m) are multiplied faster one by one than as a stack."""
    smaller, larger = sorted(shape[-2:])
    return dtype in SMALLEST_ALONE and smaller * smaller * larger >= SMALLEST_ALONE[dtype]


def block_length(shape: torch.Size) -> int:
    """Return the length, along the longer side of matrices (..., n, m), of the blocks that are transformed in turn."""
    smaller, larger = sorted(shape[-2:])
    return max(BLOCK_SQUARES * smaller, -(-larger // MOST_BLOCKS))


def _factors(x: Tensor, matrix: Tensor, is_left: bool) -> tuple[Tensor, Tensor]:
    """Return the factors of x·matrix or matrix·x. A block of a tall x may be wide, so its shape does not tell."""
    return (x, matrix) if is_left else (matrix, x)


def _panel_count(left: Tensor, right: Tensor) -> int:
    least = LEAST_OF_A_PANEL.get(left.dtype)
    if least is None or (left.dtype == torch.bfloat16 and HAS_AMX):
        return 1
    return min(left.numel() * len(right) // least, MOST_PANELS)


def _product_by_panels(
    panels: int,
    left: Tensor,
    right: Tensor,
    out: Tensor,
    addend: Tensor | None = None,
    beta: float = 0.0,
    alpha: float = 1.0,
) -> Tensor:
    """Return beta·addend + alpha·left·rightᵀ, which is known to be symmetric and is bitwise symmetric in float32.

    Otherwise blocks on the diagonal would not match the mirrored ones, and a Gram form of five steps would amplify the
    difference until singular values leave the interval of the polynomials; one of two steps, as in bfloat16, does not.
    Not even the product of a matrix with its own transpose is bitwise symmetric on every CPU.
    """
    height = -(-len(out) // panels)
    for start in range(0, len(out), height):
        end = min(start + height, len(out))
        panel, rows, columns = out[start:end, :end], left[start:end], right[:end].t()
        if addend is None:
            torch.mm(rows, columns, out=panel)
        else:
            torch.addmm(addend[start:end, :end], rows, columns, beta=beta, alpha=alpha, out=panel)
        if start > 0:
            out[:start, start:end] = panel[:, :start].t()
        if left.dtype == torch.float32:
            block = panel[:, start:].tril_()
            block.add_(block.tril(-1).t())
    return out
