"""Products of one large matrix on a CPU: symmetric ones by panels of rows up to the diagonal, mirrored, up to a third
less work; x in the place where it was, half the memory.
"""

from collections.abc import Iterator
from typing import NamedTuple, final

import torch
from torch import Tensor

from steadydecay.polar.products import is_tall


class Panels(NamedTuple):
    """Numbers of multiplications.

    Attributes:
        least: from which on panels are faster than the whole product.
        each: of the whole product for each panel; more panels cost more than they save.
        alone: of the Gram matrix from which on matrices had better not be multiplied as a stack.
    """

    least: int
    each: int
    alone: int


# By dtype and whether torch has one thread, measured at 192 to 1600 rows (docs/polar.md). Several threads meet after
# each panel, and the library's bfloat16 products need larger matrices to come to speed.
PANELS = {
    (torch.bfloat16, True): Panels(least=10**8, each=6 * 10**7, alone=10**8),
    (torch.bfloat16, False): Panels(least=2 * 10**8, each=12 * 10**7, alone=2 * 10**8),
    (torch.float32, True): Panels(least=7 * 10**6, each=17 * 10**6, alone=7 * 10**6),
    (torch.float32, False): Panels(least=5 * 10**7, each=12 * 10**7, alone=5 * 10**7),
}
FEWEST_PANELS, MOST_PANELS = 2, 4
# Longer side over shorter. Of longer matrices there would be many blocks, each with hardly any work.
LARGEST_ASPECT_IN_PLACE = 8
# n×n squares in a block of an n×m matrix: no more room than the Gram form had a moment before.
BLOCK_SQUARES = 2


@final
class PanelProducts:
    """Operands are (n, n) or (n, m), no stacks: torch's mm is faster on these than its bmm, on tall ones by a third."""

    def gram(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        rows, columns = x.shape
        count = _panel_count(x.dtype, rows * rows * columns)
        if count == 1:
            return torch.mm(x, x.t(), out=out)
        result = x.new_empty(rows, rows) if out is None else out
        for _, panel, left, right in _panels_of(result, x, x.t(), count):
            torch.mm(left, right, out=panel)
        return result

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        side = len(left)
        count = _panel_count(left.dtype, side**3)
        if count == 1:
            return torch.addmm(addend, left, right, beta=beta, alpha=alpha, out=out)
        result = torch.empty_like(addend) if out is None else out
        # Rows of the symmetric right factor in place of its columns: they lie side by side.
        for start, panel, of_left, of_right in _panels_of(result, left, right.t(), count):
            of_addend = addend.narrow(0, start, len(panel)).narrow(1, 0, panel.shape[1])
            torch.addmm(of_addend, of_left, of_right, beta=beta, alpha=alpha, out=panel)
        return result

    def transformed(
        self, x: Tensor, scale: float, matrix: Tensor, other: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        if other is None and is_transformed_in_place(x.shape):
            _transform_(x, scale, matrix)
            return x, None
        return torch.addmm(x, *((x, matrix) if is_tall(x) else (matrix, x)), beta=scale, out=other), x


PANEL_PRODUCTS = PanelProducts()


def is_alone_faster(shape: torch.Size, dtype: torch.dtype) -> bool:
    """Whether matrices of this shape (..., n, m) had better not be multiplied as a stack."""
    smaller, larger = sorted(shape[-2:])
    panels = _panels_for(dtype)
    return panels is not None and smaller * smaller * larger >= panels.alone


def is_transformed_in_place(shape: torch.Size) -> bool:
    """Whether a matrix that is multiplied alone needs no second buffer of its size."""
    smaller, larger = sorted(shape[-2:])
    return larger <= LARGEST_ASPECT_IN_PLACE * smaller


def _transform_(x: Tensor, scale: float, matrix: Tensor) -> None:
    longest = BLOCK_SQUARES * len(matrix)
    # A copy has no name, so that it is gone before the next is made.
    if is_tall(x):
        for block in x.split(longest):
            block.addmm_(block.clone(), matrix, beta=scale)
    else:
        for block in x.split(longest, dim=1):
            block.addmm_(matrix, block.clone(), beta=scale)


def _panels_for(dtype: torch.dtype) -> Panels | None:
    return PANELS.get((dtype, torch.get_num_threads() == 1))


def _panel_count(dtype: torch.dtype, multiplications: int) -> int:
    panels = _panels_for(dtype)
    if panels is None or multiplications < panels.least:
        return 1
    return min(max(multiplications // panels.each, FEWEST_PANELS), MOST_PANELS)


def _panels_of(result: Tensor, left: Tensor, right: Tensor, count: int) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """The first row of each panel, the panel, and the factors of its product.

    A panel ends where its block on the diagonal does. What is written to it is mirrored before the next one.
    """
    height, until = -(-len(result) // count), 0
    for rows, columns, of_left in zip(*(each.split(height) for each in (result, result.t(), left)), strict=True):
        start, until = until, until + len(rows)
        panel = rows.narrow(1, 0, until)
        yield start, panel, of_left, right.narrow(1, 0, until)
        if start:
            columns.narrow(1, 0, start).copy_(panel.narrow(1, 0, start))
