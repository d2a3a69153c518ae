"""What is stepped at once: weights of one shape, or rows of one weight, few enough that temporaries stay small."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.distributed.tensor import DTensor

WORKSPACE_BYTES_PER_PARAMETER = 0.4
SMALLEST_WORKSPACE = 2**20
# Above it the stacks of a lane leave the cache of a CPU.
LARGEST_CPU_CHUNK = 10 * 2**20


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


def chunks(parts: list[Part], room: int, bytes_of_one: int, by_rows: bool) -> Iterator[list[Part]]:
    """Lists of parts with room for their temporaries.

    Args:
        parts: of one shape.
        room: bytes; at least one part, or one row, is in each list.
        bytes_of_one: temporaries of one part.
        by_rows: a weight with more may come in pieces, because its update is one of each row.
    """
    bytes_of_one = max(bytes_of_one, 1)
    if bytes_of_one > room and by_rows and not isinstance(parts[0].weight, DTensor):
        rows = max(1, room * len(parts[0].weight) // bytes_of_one)
        yield from ([piece] for part in parts for piece in part.split_rows(rows))
    else:
        count = max(1, room // bytes_of_one)
        yield from (parts[start : start + count] for start in range(0, len(parts), count))


def workspace_of(parameters: list[Tensor], workspace_bytes: int | None) -> int:
    """Bytes for the temporaries of a group; by default 0.4 for each entry of the parameters, 1 MiB at least."""
    if workspace_bytes is not None:
        return workspace_bytes
    entries = sum(parameter.numel() for parameter in parameters)
    return max(int(WORKSPACE_BYTES_PER_PARAMETER * entries), SMALLEST_WORKSPACE)


def require_workspace(workspace_bytes: object) -> None:
    """ValueError unless it is None or a number of bytes."""
    if workspace_bytes is not None and not (isinstance(workspace_bytes, int) and workspace_bytes >= 0):
        legal = "None or a whole number of bytes, 0 for one weight at a time"
        raise ValueError(f"workspace_bytes is {workspace_bytes!r}; legal is {legal}")
