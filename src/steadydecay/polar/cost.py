"""What the polar factor of a matrix costs, so that a step can be planned."""

import math

import torch
from torch import Tensor

from steadydecay.polar.choice import chosen_dtype, chosen_form, is_one_by_one
from steadydecay.polar.cpu.single_products import block_length
from steadydecay.polar.forms import SQUARES
from steadydecay.tensors.row_blocks import BLOCK_ENTRIES

# Of one matrix in half precision: a copy of it, beside it in float32, beside the result. On a GPU of any matrix: two
# of its size and Gram matrices.
BYTES_PER_ENTRY = 8


def multiplications(matrices: Tensor, steps: int) -> int:
    """Of the plain form, for all of the matrices (..., n, m)."""
    smaller, larger = sorted(matrices.shape[-2:])
    return math.prod(matrices.shape[:-2]) * steps * smaller**2 * (2 * larger + smaller)


def workspace_bytes(matrices: Tensor, steps: int) -> int:
    """Of `polar_express_of_each` for one tensor (..., n, m), its result and the conversion of that included.

    Not what the library of products takes for itself: on a CPU with AMX 1 to 4 MB during xxᵀ, on others less.
    """
    if matrices.device.type != "cpu":
        return BYTES_PER_ENTRY * matrices.numel()
    dtype = chosen_dtype(matrices, steps)
    size = math.prod(matrices.shape[-2:])
    converted = 0 if dtype == matrices.dtype else matrices.dtype.itemsize * min(size, BLOCK_ENTRIES)
    of_form = dtype.itemsize * size + max(dtype.itemsize * _entries_beside(matrices, dtype), converted)
    at_the_start = BYTES_PER_ENTRY * size if matrices.dtype.itemsize < 4 else 0
    return math.prod(matrices.shape[:-2]) * max(of_form, at_the_start)


def _entries_beside(matrices: Tensor, dtype: torch.dtype) -> int:
    """Of the temporaries that the form of one of them needs at one time beside it."""
    form = chosen_form(matrices, dtype)
    smaller, larger = sorted(matrices.shape[-2:])
    copied = min(block_length(matrices.shape), larger) if is_one_by_one(matrices, dtype) else larger
    squares_beside_a_copy = 2 if form == "plain" else 1
    return max(SQUARES[form] * smaller, squares_beside_a_copy * smaller + copied) * smaller
