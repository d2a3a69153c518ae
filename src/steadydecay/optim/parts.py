"""What is stepped at once: weights of one shape, or rows of one weight, few enough that temporaries stay small."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.distributed.tensor import DTensor

# Temporaries of the Spectral lmo: its stack in float32 beside the one in bfloat16, then two of these and Gram matrices.
WORKSPACE_BYTES_PER_ENTRY = 8
WORKSPACE_BYTES_PER_PARAMETER = 0.4
SMALLEST_WORKSPACE = 2**20
# Above it stacks leave the cache of a CPU.
LARGEST_CPU_WORKSPACE = 10 * 2**20


class Part(NamedTuple):
    """A weight, or rows of it, with what its step reads and writes.

    Attributes:
        weight: θ.
        gradient: g.
        average: m; the gradient itself in memory-light mode.
        compensation: what rounding took from a low-precision weight, where it is kept.
    """

    weight: Tensor
    gradient: Tensor
    average: Tensor
    compensation: Tensor | None

    def split_rows(self, rows: int) -> Iterator["Part"]:
        """Views of this many rows each."""
        weight, gradient, average, compensation = self
        for start in range(0, len(weight), rows):
            of_rows = slice(start, start + rows)
            remainder = None if compensation is None else compensation[of_rows]
            yield Part(weight[of_rows], gradient[of_rows], average[of_rows], remainder)


def by_shape(parts: list[Part]) -> list[list[Part]]:
    """Lists of one shape, dtype and device each, which can be one stack."""
    lists: dict[Any, list[Part]] = defaultdict(list)
    for part in parts:
        lists[part.weight.shape, part.weight.dtype, part.weight.device].append(part)
    return list(lists.values())


def chunks(parts: list[Part], entries: int, by_rows: bool) -> Iterator[list[Part]]:
    """Lists of up to so many entries in all.

    Args:
        parts: of one shape.
        entries: at least one part, or one row, is in each list.
        by_rows: a weight with more entries may come in pieces, because its update is one of each row.
    """
    size = max(parts[0].weight.numel(), 1)
    if size > entries and by_rows and not isinstance(parts[0].weight, DTensor):
        rows = max(1, entries * len(parts[0].weight) // size)
        yield from ([piece] for part in parts for piece in part.split_rows(rows))
    else:
        count = max(1, entries // size)
        yield from (parts[start : start + count] for start in range(0, len(parts), count))


def workspace_entries(parameters: list[Tensor], workspace_bytes: int | None) -> int:
    """Entries of one chunk.

    Args:
        parameters: of the group.
        workspace_bytes: for temporaries; None is 0.4 for each entry of the parameters, 1 MiB at least, and on a CPU
            10 MiB at most.
    """
    if workspace_bytes is None:
        entries = sum(parameter.numel() for parameter in parameters)
        workspace_bytes = max(int(WORKSPACE_BYTES_PER_PARAMETER * entries), SMALLEST_WORKSPACE)
        if parameters and parameters[0].device.type == "cpu":
            workspace_bytes = min(workspace_bytes, LARGEST_CPU_WORKSPACE)
    return workspace_bytes // WORKSPACE_BYTES_PER_ENTRY


def require_workspace(workspace_bytes: object) -> None:
    """ValueError unless it is None or a number of bytes."""
    if workspace_bytes is not None and not (isinstance(workspace_bytes, int) and workspace_bytes >= 0):
        legal = "None or a whole number of bytes, 0 for one weight at a time"
        raise ValueError(f"workspace_bytes is {workspace_bytes!r}; legal is {legal}")
