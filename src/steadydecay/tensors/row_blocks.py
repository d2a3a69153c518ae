"""A tensor a few rows at a time, so that what is computed from it on the way stays small, and in the cache of a CPU."""

from collections.abc import Iterable

from torch import Tensor

# Three blocks of a float32 matrix of 384×1536, and one of 384×384: each call costs some microseconds.
BLOCK_ENTRIES = 3 * 2**16


def row_blocks(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The same rows (of the first dimension) of tensors of one shape, with 196 608 entries or fewer, or one row.

    Small tensors come whole.

    >>> import torch
    >>> [(len(a), len(b)) for a, b in row_blocks(torch.empty(5, 50_000), torch.empty(5, 50_000))]
    [(3, 3), (2, 2)]
    >>> [len(a) for (a,) in row_blocks(torch.empty(2, 500_000))], [len(a) for (a,) in row_blocks(torch.empty(0, 3))]
    ([1, 1], [0])
    """
    first = tensors[0]
    rows = max(1, BLOCK_ENTRIES * len(first) // max(first.numel(), 1))
    # A view takes Python as long as many a product, and lanes wait for one another's Python.
    return [tensors] if rows >= len(first) else zip(*(tensor.split(rows) for tensor in tensors), strict=True)
