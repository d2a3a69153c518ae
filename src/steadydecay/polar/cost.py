"""The cost of the polar factor of a matrix, by which a step is planned."""

import math

import torch
from torch import Tensor

from steadydecay.polar.choice import chosen_dtype, chosen_form, is_one_by_one
from steadydecay.polar.cpu.single_products import block_length
from steadydecay.polar.forms import SQUARES
from steadydecay.tensors.row_blocks import BLOCK_ENTRIES

# The copies of a matrix that exist at the same time. One matrix in half precision has a copy, its float32 version and
# the result. On a GPU any matrix has two of its size, besides the Gram matrices.
BYTES_PER_ENTRY = 8


def multiplications(matrices: Tensor, steps: int) -> int:
    """Return the number of multiplications of the plain form for all of the matrices (..., n, m)."""
    smaller, larger = sorted(matrices.shape[-2:])
    return math.prod(matrices.shape[:-2]) * steps * smaller**2 * (2 * larger + smaller)


def workspace_bytes(matrices: Tensor, steps: int) -> int:
    """Return the bytes that `polar_express_of_each` needs for one tensor (..., n, m), including its result and
    conversion.

    The memory of the library that multiplies is not counted: on a CPU with AMX 1 to 4 MB during xxᵀ, on others less.
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
    """Return how many entries the temporaries of one matrix have at the same time."""
    form = chosen_form(matrices, dtype)
    smaller, larger = sorted(matrices.shape[-2:])
    copied = min(block_length(matrices.shape), larger) if is_one_by_one(matrices, dtype) else larger
    squares_beside_a_copy = 2 if form == "plain" else 1
    return max(SQUARES[form] * smaller, squares_beside_a_copy * smaller + copied) * smaller
