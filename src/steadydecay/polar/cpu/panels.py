"""Products of one large matrix on a CPU: symmetric ones by panels of rows up to the diagonal, mirrored, up to a third
less work; x in the place where it was, half the memory.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, final

import torch
from torch import Tensor

from steadydecay.polar.cpu.panel_views import PanelViews
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
    (torch.bfloat16, True): Panels(least=5 * 10**7, each=6 * 10**7, alone=10**8),
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
    """Operands are (n, n) or (n, m), no stacks: torch's mm is faster on these than its bmm, on tall ones by a third.

    For matrices of one n and dtype, one after the other, in one thread. Squares and their views stay from one matrix to
    the next; the memory under them is only there while it is needed.
    """

    def __init__(self) -> None:
        self._squares: list[Tensor] = []
        self._used: list[Tensor] = []
        self._views: dict[tuple[int, int], PanelViews] = {}
        self._blocks: tuple[Tensor, Sequence[Tensor]] | None = None

    def squares(self, x: Tensor, count: int) -> Sequence[Tensor]:
        side = min(x.shape)
        # Tensors made in inference mode could not be written to outside of it.
        with torch.inference_mode(False):
            while len(self._squares) < count:
                self._squares.append(torch.empty(side, side, dtype=x.dtype, device=x.device))
        self._used = self._squares[:count]
        self._keep_memory_of(*self._used)
        return self._used

    def gram(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        rows, columns = x.shape
        result = x.new_empty(rows, rows) if out is None else out
        # The library of products takes room of its own for tall matrices.
        self._keep_memory_of(result)
        count = _panel_count(x.dtype, rows * rows * columns)
        if count == 1:
            torch.mm(x, x.t(), out=result)
        else:
            of_x, of_result = self._views_of(x, count), self._views_of(result, count)
            for left, right, panel in zip(of_x.rows, of_x.columns, of_result.panels, strict=True):
                torch.mm(left, right, out=panel)
            of_result.mirror()
        self._keep_memory_of(*self._used)
        return result

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        count = _panel_count(left.dtype, len(left) ** 3)
        if count == 1:
            return torch.addmm(addend, left, right, beta=beta, alpha=alpha, out=out)
        result = torch.empty_like(addend) if out is None else out
        of_addend, of_left, of_right, of_result = (self._views_of(one, count) for one in (addend, left, right, result))
        operands = zip(of_addend.panels, of_left.rows, of_right.columns, of_result.panels, strict=True)
        for some_addend, some_left, some_right, panel in operands:
            torch.addmm(some_addend, some_left, some_right, beta=beta, alpha=alpha, out=panel)
        of_result.mirror()
        return result

    def transformed(
        self, x: Tensor, scale: float, matrix: Tensor, other: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As `Products` says; where `other` is given, x is copied to it, so that x stays where it has views."""
        tall = is_tall(x)
        if other is not None:
            return x.addmm_(*_factors(other.copy_(x), matrix, tall), beta=scale), other
        if not is_transformed_in_place(x.shape):
            return torch.addmm(x, *_factors(x, matrix, tall), beta=scale), x
        self._keep_memory_of(matrix)
        for block in self._blocks_of(x):
            # The copy has no name, so that it is gone before the next is made.
            block.addmm_(*_factors(block.clone(), matrix, tall), beta=scale)
        return x, None

    def close(self) -> None:
        """Give all memory back, and forget the matrices, but for views of squares."""
        self._keep_memory_of()
        known = set(map(id, self._squares))
        self._views = {key: views for key, views in self._views.items() if key[0] in known}
        self._blocks = None

    def _views_of(self, matrix: Tensor, count: int) -> PanelViews:
        # Views hold their matrix, so that no other can have its id.
        key = id(matrix), count
        if key not in self._views:
            self._views[key] = PanelViews(matrix, count)
        return self._views[key]

    def _blocks_of(self, x: Tensor) -> Sequence[Tensor]:
        if self._blocks is None or self._blocks[0] is not x:
            self._blocks = x, x.split(BLOCK_SQUARES * min(x.shape), dim=0 if is_tall(x) else 1)
        return self._blocks[1]

    def _keep_memory_of(self, *kept: Tensor) -> None:
        """Of these squares, and take or give it where others had it; what was in them is lost."""
        for square in self._squares:
            storage = square.untyped_storage()
            size = square.nbytes if any(square is one for one in kept) else 0
            if storage.nbytes() != size:
                storage.resize_(size)


@contextmanager
def panel_products(x: Tensor) -> Iterator[PanelProducts]:
    """Products for one matrix of x (..., n, m) after the other: this thread's own, with the views of earlier steps."""
    key = min(x.shape[-2:]), x.dtype
    # A subclass may be of a mode that ends.
    known = _of_thread.products if type(x) is Tensor else {}
    products = known.setdefault(key, PanelProducts())
    try:
        yield products
    finally:
        products.close()


@final
class _OfThread(threading.local):
    def __init__(self) -> None:
        self.products: dict[tuple[int, torch.dtype], PanelProducts] = {}


_of_thread = _OfThread()


def is_alone_faster(shape: torch.Size, dtype: torch.dtype) -> bool:
    """Whether matrices of this shape (..., n, m) had better not be multiplied as a stack."""
    smaller, larger = sorted(shape[-2:])
    panels = _panels_for(dtype)
    return panels is not None and smaller * smaller * larger >= panels.alone


def is_transformed_in_place(shape: torch.Size) -> bool:
    """Whether a matrix that is multiplied alone needs no second buffer of its size."""
    smaller, larger = sorted(shape[-2:])
    return larger <= LARGEST_ASPECT_IN_PLACE * smaller


def _factors(x: Tensor, matrix: Tensor, is_left: bool) -> tuple[Tensor, Tensor]:
    """Of x·matrix or matrix·x; a block of a tall x may itself be wide, so its shape does not tell."""
    return (x, matrix) if is_left else (matrix, x)


def _panels_for(dtype: torch.dtype) -> Panels | None:
    return PANELS.get((dtype, torch.get_num_threads() == 1))


def _panel_count(dtype: torch.dtype, multiplications: int) -> int:
    panels = _panels_for(dtype)
    if panels is None or multiplications < panels.least:
        return 1
    return min(max(multiplications // panels.each, FEWEST_PANELS), MOST_PANELS)
