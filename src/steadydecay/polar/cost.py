"""What the polar factor of a matrix costs, so that a step can be planned."""

import math

import torch
from torch import Tensor

from steadydecay.polar.choice import chosen_dtype, chosen_form, is_one_by_one
from steadydecay.polar.cpu.panels import BLOCK_SQUARES, is_transformed_in_place
from steadydecay.polar.forms import SQUARES
from steadydecay.tensors.row_blocks import BLOCK_ENTRIES

# Of one matrix: it in float32 beside it in half precision, then two of these and Gram matrices.
BYTES_PER_ENTRY = 8


def multiplications(matrices: Tensor, steps: int) -> int:
    """Of the plain form, for all of the matrices (..., n, m)."""
    smaller, larger = sorted(matrices.shape[-2:])
    return math.prod(matrices.shape[:-2]) * steps * smaller**2 * (2 * larger + smaller)


def workspace_bytes(matrices: Tensor, steps: int) -> int:
    """Of `polar_express_of_each` for one tensor (..., n, m), its result and the conversion of that included.

    Not what the library of products takes for itself: on a CPU 0.1 to 1 MB, more for tall matrices.
    """
    if matrices.device.type != "cpu":
        return BYTES_PER_ENTRY * matrices.numel()
    smaller, larger = sorted(matrices.shape[-2:])
    dtype = chosen_dtype(matrices, steps)
    buffers, squares = _buffers_and_squares(matrices, dtype)
    of_form = dtype.itemsize * (buffers * smaller * larger + squares * smaller**2)
    converted = 0 if dtype == matrices.dtype else matrices.dtype.itemsize * min(smaller * larger, BLOCK_ENTRIES)
    return math.prod(matrices.shape[:-2]) * max(of_form, dtype.itemsize * smaller * larger + converted)


def _buffers_and_squares(matrices: Tensor, dtype: torch.dtype) -> tuple[int, int]:
    """Matrices of n×m and of n×n that one of them needs at one time."""
    form = chosen_form(matrices, dtype)
    if form == "plain":
        return 4, SQUARES[form]
    if matrices.shape[-2] == matrices.shape[-1]:
        # The next x, or a copy of this one, takes the place of the Gram matrix.
        return 1, SQUARES[form]
    if is_one_by_one(matrices, dtype) and is_transformed_in_place(matrices.shape):
        # There is one square beside the copy of a block.
        return 1, max(SQUARES[form], 1 + BLOCK_SQUARES)
    return 2, SQUARES[form]
