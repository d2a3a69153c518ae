"""Process a tensor a few rows at a time, so that temporaries stay small and within the cache of a CPU."""

from collections.abc import Iterable

from torch import Tensor

# A float32 matrix of 384×1536 makes three blocks, and one of 384×384 a single one: each call costs some microseconds.
BLOCK_ENTRIES = 3 * 2**16


def row_blocks(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Yield corresponding rows of tensors of one shape, at most 196 608 entries at a time, but at least one row.

    Small tensors are yielded whole.

    >>> import torch
    >>> [(len(a), len(b)) for a, b in row_blocks(torch.empty(5, 50_000), torch.empty(5, 50_000))]
    [(3, 3), (2, 2)]
    >>> [len(a) for (a,) in row_blocks(torch.empty(2, 500_000))], [len(a) for (a,) in row_blocks(torch.empty(0, 3))]
    ([1, 1], [0])
    """
    first = tensors[0]
    rows = max(1, BLOCK_ENTRIES * len(first) // max(first.numel(), 1))
    # Creating a view takes Python as long as many a product, and lanes wait for each other's Python.
    return [tensors] if rows >= len(first) else zip(*(tensor.split(rows) for tensor in tensors), strict=True)
