"""Weights of one shape as batches that fit into a cache, in memory that is reused."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors

# The entries of a batch, 8 MB in float32. Reusing temporaries of this size costs less than a new one of a whole weight.
CHUNK = 2**21


@final
class Scratch:
    """Named pieces of memory, each as large as its largest use."""

    def __init__(self) -> None:
        self._memory: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}

    def take(self, name: str, shape: Sequence[int], like: Tensor, dtype: torch.dtype) -> Tensor:
        """Return an uninitialised tensor of this shape on the device of `like`, valid until the name is taken again."""
        size, key = torch.Size(shape).numel(), (name, like.device, dtype)
        if key not in self._memory or self._memory[key].numel() < size:
            self._memory[key] = torch.empty(size, device=like.device, dtype=dtype)
        return self._memory[key][:size].view(*shape)


class Matrices(NamedTuple):
    """Matrices of one shape, or padded to one shape by zeros, which no norm notices, on one device.

    Attributes:
        parts: Tensors of any shape, each with the entries of one matrix in order. Several are processed in one chunk.
        shape: (rows, columns).
        places: The positions of the entries of all parts in their stack, or None if they fill it in order.
    """

    parts: list[Tensor]
    shape: tuple[int, int]
    places: Tensor | None = None

    def chunks(self) -> Iterator[slice]:
        """Yield ranges of rows whose batches have about `CHUNK` entries at most; one range if there are no rows.

        >>> list(Matrices([torch.empty(5, 2**20, device="meta")], (5, 2**20)).chunks())
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
        """
        rows, columns = self.shape
        height = max(1, CHUNK // max(1, len(self.parts) * columns))
        for start in range(0, max(rows, 1), height):
            yield slice(start, min(rows, start + height))


def stacked_rows(matrices: Matrices, rows: slice, scratch: Scratch, name: str) -> Tensor:
    """Return these rows as one batch (stacked, rows, columns) in float32 or better.

    It is a view if a single matrix needs no conversion, or else a copy in the scratch memory of that name.
    """
    if matrices.places is not None:
        return _padded(matrices, matrices.places, scratch, name)
    parts = matrices.parts if len(matrices.parts) > 1 else [matrices.parts[0].reshape(matrices.shape)[rows]]
    dtype = torch.promote_types(parts[0].dtype, torch.float32)
    if len(parts) == 1 and parts[0].dtype == dtype and parts[0].is_contiguous():
        return parts[0].unsqueeze(0)
    # Use one call for all: for 10⁴ small weights, creating a view of each takes longer than the copy.
    batch = torch.stack(parts, out=scratch.take(name, (len(parts), *parts[0].shape), parts[0], dtype))
    return batch.view(len(parts), rows.stop - rows.start, matrices.shape[1])


def padded_shape(rows: int, columns: int) -> tuple[int, int]:
    """Return the smallest powers of two that are not below them.

    >>> padded_shape(5, 1), padded_shape(64, 3)
    ((8, 1), (64, 4))
    """
    return 1 << max(0, rows - 1).bit_length(), 1 << max(0, columns - 1).bit_length()


def places_in_stack(shapes: Sequence[tuple[int, int]], padded: tuple[int, int], device: torch.device) -> Tensor:
    """Return the flat positions of the entries of matrices in a stack (stacked, rows, columns) of padded ones."""
    height, width = padded
    of_each = [
        (at * height + torch.arange(rows).unsqueeze(1)) * width + torch.arange(columns)
        for at, (rows, columns) in enumerate(shapes)
    ]
    return torch.cat([places.flatten() for places in of_each]).to(device)


def _padded(matrices: Matrices, places: Tensor, scratch: Scratch, name: str) -> Tensor:
    flat = _flatten_dense_tensors(matrices.parts)
    dtype = torch.promote_types(flat.dtype, torch.float32)
    batch = scratch.take(name, (len(matrices.parts), *matrices.shape), flat, dtype).zero_()
    batch.view(-1).index_copy_(0, places, flat.to(dtype))
    return batch


def squares(batch: Tensor) -> Tensor:
    """Return ‖x‖² of each matrix in (stacked, rows, columns).

    It is computed row by row, because torch's float32 norm over 4·10⁷ entries at once is 0.2 % off on a CPU.
    """
    return torch.linalg.vector_norm(batch, dim=2).square().sum(dim=1)
