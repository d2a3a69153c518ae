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


class Panel(NamedTuple):
    """A few rows of a symmetric matrix up to the end of its block on the diagonal.

    Attributes:
        start: its first row.
        panel: where it is written.
        left, right: the factors of its product.
        below, above: what of it lies below the diagonal, and where that is mirrored to.
    """

    start: int
    panel: Tensor
    left: Tensor
    right: Tensor
    below: Tensor
    above: Tensor

    def mirror(self) -> None:
        if self.start:
            self.above.copy_(self.below)


@final
class PanelProducts:
    """Operands are (n, n) or (n, m), no stacks: torch's mm is faster on these than its bmm, on tall ones by a third.

    For one matrix and in one thread: views of x and of the room for its products are kept from one call to the next,
    because each takes Python as long as a call.
    """

    def __init__(self) -> None:
        self._gram: tuple[Tensor, Tensor, list[Panel]] | None = None
        self._blocks: list[tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]] = []
        self._own_room: Tensor | None = None

    def gram(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        rows, columns = x.shape
        count = _panel_count(x.dtype, rows * rows * columns)
        if count == 1:
            return torch.mm(x, x.t(), out=out)
        result = x.new_empty(rows, rows) if out is None else out
        if self._gram is None or self._gram[0] is not x or self._gram[1] is not result:
            self._gram = x, result, list(_panels_of(result, x, x.t(), count))
        for panel in self._gram[2]:
            torch.mm(panel.left, panel.right, out=panel.panel)
            panel.mirror()
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
        for panel in _panels_of(result, left, right.t(), count):
            height, until = panel.panel.shape
            of_addend = addend.narrow(0, panel.start, height).narrow(1, 0, until)
            torch.addmm(of_addend, panel.left, panel.right, beta=beta, alpha=alpha, out=panel.panel)
            panel.mirror()
        return result

    def transformed(
        self, x: Tensor, scale: float, matrix: Tensor, other: Tensor | None = None, free: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        tall = is_tall(x)
        if other is not None or not is_transformed_in_place(x.shape):
            return torch.addmm(x, *((x, matrix) if tall else (matrix, x)), beta=scale, out=other), x
        for block, copy in self._blocks_of(x, self._room_like(matrix) if free is None else free):
            copy.copy_(block)
            block.addmm_(*((copy, matrix) if tall else (matrix, copy)), beta=scale)
        return x, None

    def _room_like(self, matrix: Tensor) -> Tensor:
        if self._own_room is None or self._own_room.shape[1:] != matrix.shape:
            self._own_room = matrix.new_empty(BLOCK_SQUARES, *matrix.shape)
        return self._own_room

    def _blocks_of(self, x: Tensor, free: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Each block of x beside room for a copy of it."""
        for of_x, room, blocks in self._blocks:
            if of_x is x and room is free:
                return blocks
        flat = free.view(-1)
        parts = x.split(BLOCK_SQUARES * free.shape[-1], dim=0 if is_tall(x) else 1)
        blocks = [(part, flat.narrow(0, 0, part.numel()).view(part.shape)) for part in parts]
        self._blocks.append((x, free, blocks))
        return blocks


def is_alone_faster(shape: torch.Size, dtype: torch.dtype) -> bool:
    """Whether matrices of this shape (..., n, m) had better not be multiplied as a stack."""
    smaller, larger = sorted(shape[-2:])
    panels = _panels_for(dtype)
    return panels is not None and smaller * smaller * larger >= panels.alone


def is_transformed_in_place(shape: torch.Size) -> bool:
    """Whether a matrix that is multiplied alone needs no second buffer of its size."""
    smaller, larger = sorted(shape[-2:])
    return larger <= LARGEST_ASPECT_IN_PLACE * smaller


def _panels_for(dtype: torch.dtype) -> Panels | None:
    return PANELS.get((dtype, torch.get_num_threads() == 1))


def _panel_count(dtype: torch.dtype, multiplications: int) -> int:
    panels = _panels_for(dtype)
    if panels is None or multiplications < panels.least:
        return 1
    return min(max(multiplications // panels.each, FEWEST_PANELS), MOST_PANELS)


def _panels_of(result: Tensor, left: Tensor, right: Tensor, count: int) -> Iterator[Panel]:
    height, until = -(-len(result) // count), 0
    for rows, columns, of_left in zip(*(each.split(height) for each in (result, result.t(), left)), strict=True):
        start, until = until, until + len(rows)
        panel = rows.narrow(1, 0, until)
        yield Panel(
            start, panel, of_left, right.narrow(1, 0, until), panel.narrow(1, 0, start), columns.narrow(1, 0, start)
        )
