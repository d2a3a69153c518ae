"""Symmetric products on a CPU by panels of rows up to the diagonal, mirrored: up to a third less work."""

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from steadydecay.polar.products import GEMM_PRODUCTS

# Multiplications from which on panels are faster, measured at 384 to 1600 rows (docs/polar.md). The library's bfloat16
# products need larger matrices to come to speed.
LEAST_WORK = {torch.bfloat16: 2 * 10**8, torch.float32: 5 * 10**7}
# Narrower panels and more of them cost more than they save.
NARROWEST_PANEL = 256
MOST_PANELS = 4


@final
class PanelProducts:
    """One matrix of the stack after the other: torch's mm is faster on these than its bmm, on tall ones by a third."""

    def gram(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        if not _is_worth_it(x, columns=x.shape[-2]):
            return GEMM_PRODUCTS.gram(x, out)
        result = x.new_empty(*x.shape[:-1], x.shape[-2]) if out is None else out
        for one, one_result in zip(x, result, strict=True):
            for rows, until in _panels(len(one)):
                _write_mirrored(one_result, rows, torch.mm(one[rows], one[:until].T))
        return result

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        if not _is_worth_it(left, columns=right.shape[-1]):
            return GEMM_PRODUCTS.symmetric(addend, left, right, beta, alpha, out)
        result = torch.empty_like(addend) if out is None else out
        for one_addend, one_left, one_right, one_result in zip(addend, left, right, result, strict=True):
            for rows, until in _panels(len(one_left)):
                # Rows of the symmetric right factor in place of its columns: they lie side by side.
                panel = torch.addmm(
                    one_addend[rows, :until], one_left[rows], one_right[:until].T, beta=beta, alpha=alpha
                )
                _write_mirrored(one_result, rows, panel)
        return result

    def general(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float = 1.0, out: Tensor | None = None
    ) -> Tensor:
        if not _is_worth_it(left, columns=right.shape[-1]):
            return GEMM_PRODUCTS.general(addend, left, right, beta, alpha, out)
        result = torch.empty_like(addend) if out is None else out
        for one_addend, one_left, one_right, one_result in zip(addend, left, right, result, strict=True):
            torch.addmm(one_addend, one_left, one_right, beta=beta, alpha=alpha, out=one_result)
        return result


PANEL_PRODUCTS = PanelProducts()


def _is_worth_it(left: Tensor, columns: int) -> bool:
    """Whether a product of that many columns is large."""
    rows, inner = left.shape[-2:]
    return left.dtype in LEAST_WORK and rows * inner * columns >= LEAST_WORK[left.dtype]


def _panels(rows: int) -> Iterator[tuple[slice, int]]:
    """(rows of a panel, columns up to the end of its block on the diagonal)."""
    count = min(MOST_PANELS, max(2, rows // NARROWEST_PANEL))
    width = -(-rows // count)
    for start in range(0, rows, width):
        until = min(start + width, rows)
        yield slice(start, until), until


def _write_mirrored(result: Tensor, rows: slice, panel: Tensor) -> None:
    """Rows up to the diagonal block, and the same above the diagonal."""
    result[rows, : rows.stop] = panel
    if rows.start:
        result[: rows.start, rows] = panel[:, : rows.start].T
