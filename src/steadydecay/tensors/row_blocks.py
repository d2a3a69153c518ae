"""A tensor a few rows at a time, so that what is computed from it on the way stays small, and in the cache of a CPU."""

from collections.abc import Iterable

from torch import Tensor

# Three blocks of a float32 matrix of 384×1536, and one of 384×384: each call costs some microseconds.
BLOCK_ENTRIES = 3 * 2**16


def block_rows(tensor: Tensor) -> int:
    """Rows (of the first dimension) with 196 608 entries or fewer in all, but at least one.

    >>> import torch
    >>> block_rows(torch.empty(5, 50_000)), block_rows(torch.empty(5, 500_000)), block_rows(torch.empty(0, 3))
    (3, 1, 1)
    """
    return max(1, BLOCK_ENTRIES * len(tensor) // max(tensor.numel(), 1))


def row_blocks(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The same rows of tensors of one shape, a block of each at a time; of small ones the tensors themselves.

    >>> import torch
    >>> [(len(a), len(b)) for a, b in row_blocks(torch.empty(5, 50_000), torch.empty(5, 50_000))]
    [(3, 3), (2, 2)]
    """
    rows = block_rows(tensors[0])
    # A view takes Python as long as many a product, and lanes wait for one another's Python.
    return [tensors] if rows >= len(tensors[0]) else zip(*(tensor.split(rows) for tensor in tensors), strict=True)
