"""Weights of one shape as batches small enough for a cache, in memory that is used again."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

# Entries of a batch: 8 MB in float32. Temporaries of this size, kept, cost less than a fresh one of a whole weight.
CHUNK = 2**21


@final
class Scratch:
    """Memory by name, as large as the largest use of it."""

    def __init__(self) -> None:
        self._memory: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}

    def take(self, name: str, shape: Sequence[int], like: Tensor, dtype: torch.dtype) -> Tensor:
        """An uninitialised tensor of this shape on the device of `like`; valid until the name is taken again."""
        size, key = torch.Size(shape).numel(), (name, like.device, dtype)
        if key not in self._memory or self._memory[key].numel() < size:
            self._memory[key] = torch.empty(size, device=like.device, dtype=dtype)
        return self._memory[key][:size].view(*shape)


class Matrices(NamedTuple):
    """Of one shape, on one device.

    Attributes:
        parts: each with the entries of one matrix in their order, in whatever shape; several are one chunk together.
        shape: (rows, columns).
    """

    parts: list[Tensor]
    shape: tuple[int, int]

    def chunks(self) -> Iterator[slice]:
        """Ranges of rows such that a batch of them has about `CHUNK` entries at most; one if it is empty.

        >>> list(Matrices([torch.empty(5, 2**20, device="meta")], (5, 2**20)).chunks())
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
        """
        rows, columns = self.shape
        height = max(1, CHUNK // max(1, len(self.parts) * columns))
        for start in range(0, max(rows, 1), height):
            yield slice(start, min(rows, start + height))


def stacked_rows(matrices: Matrices, rows: slice, scratch: Scratch, name: str) -> Tensor:
    """These rows as one batch (stacked, rows, columns), in float32 or better.

    A view where one matrix needs no conversion; else a copy in the scratch memory of that name.
    """
    parts = matrices.parts if len(matrices.parts) > 1 else [matrices.parts[0].reshape(matrices.shape)[rows]]
    dtype = torch.promote_types(parts[0].dtype, torch.float32)
    if len(parts) == 1 and parts[0].dtype == dtype and parts[0].is_contiguous():
        return parts[0].unsqueeze(0)
    # One call for all: of 10⁴ small weights, a view of each takes longer than the copy.
    batch = torch.stack(parts, out=scratch.take(name, (len(parts), *parts[0].shape), parts[0], dtype))
    return batch.view(len(parts), rows.stop - rows.start, matrices.shape[1])


def squares(batch: Tensor) -> Tensor:
    """‖x‖² of each matrix in (stacked, rows, columns).

    Row by row: over 4·10⁷ entries at once, torch's float32 norm on a CPU is 0.2 % off.
    """
    return torch.linalg.vector_norm(batch, dim=2).square().sum(dim=1)
