"""What the polar factor of a matrix costs, so that a step can be planned."""

import math

from torch import Tensor

from steadydecay.polar.choice import chosen_dtype, chosen_form, is_one_by_one
from steadydecay.polar.forms import SQUARES
from steadydecay.polar.panels import is_transformed_in_place
from steadydecay.row_blocks import BLOCK_ENTRIES

# Of one matrix: it in float32 beside it in half precision, then two of these and Gram matrices.
BYTES_PER_ENTRY = 8


def multiplications(matrices: Tensor, steps: int) -> int:
    """Of the plain form, for all of the matrices (..., n, m)."""
    smaller, larger = sorted(matrices.shape[-2:])
    return math.prod(matrices.shape[:-2]) * steps * smaller**2 * (2 * larger + smaller)


def workspace_bytes(matrices: Tensor, steps: int) -> int:
    """Of `polar_express_of_each` for one tensor (..., n, m), its result and the conversion of that included."""
    if matrices.device.type != "cpu":
        return BYTES_PER_ENTRY * matrices.numel()
    smaller, larger = sorted(matrices.shape[-2:])
    dtype = chosen_dtype(matrices, steps)
    is_in_place = is_one_by_one(matrices, dtype) and is_transformed_in_place(matrices.shape)
    buffers = 1 if is_in_place or smaller == larger else 2
    squares = SQUARES[chosen_form(matrices, dtype)]
    of_form = dtype.itemsize * (buffers * smaller * larger + squares * smaller**2)
    converted = 0 if dtype == matrices.dtype else matrices.dtype.itemsize * min(smaller * larger, BLOCK_ENTRIES)
    return math.prod(matrices.shape[:-2]) * max(of_form, dtype.itemsize * smaller * larger + converted)
