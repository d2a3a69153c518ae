"""Weights of one shape, and lists of them, or rows of one, few enough that temporaries stay small."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from steadydecay.norms.protocol import LmoCost
from steadydecay.optim.batches.parts import Part

WORKSPACE_BYTES_PER_PARAMETER = 0.4
SMALLEST_WORKSPACE = 2**20
LISTS_FOR_EACH_LANE = 4
# Above it the stacks of a lane leave the cache of a CPU.
LARGEST_CPU_CHUNK = 10 * 2**20


class AlikeParts(NamedTuple):
    """Parts of one shape, dtype, device and norm.

    Attributes:
        parts: at least one.
        cost: of the lmo of one of them.
        room: bytes for the temporaries of their group.
        is_by_rows: whether a part with more may come in several, because its update is one of each row.
    """

    parts: list[Part]
    cost: LmoCost
    room: int
    is_by_rows: bool

    def chunks(self, lanes: int) -> Iterator[list[Part]]:
        """Lists with room for their temporaries beside those of other lanes, or of one part, or one row."""
        first, bytes_of_one = self.parts[0].weight, max(self.cost.workspace_bytes, 1)
        room = self.room // lanes
        if first.device.type == "cpu":
            room = min(room, LARGEST_CPU_CHUNK)
        if bytes_of_one > room and self.is_by_rows:
            rows = max(1, room * len(first) // bytes_of_one)
            yield from ([some_rows] for part in self.parts for some_rows in part.split_rows(rows))
        else:
            count = room // bytes_of_one
            if lanes > 1 and self.cost.multiplications:
                # Enough lists that lanes end at about the same time.
                count = min(count, len(self.parts) // (lanes * LISTS_FOR_EACH_LANE))
            count = max(1, count)
            yield from (self.parts[start : start + count] for start in range(0, len(self.parts), count))


def by_shape(parts: list[Part]) -> list[list[Part]]:
    """Lists of one shape, dtype and device each."""
    lists: dict[Any, list[Part]] = defaultdict(list)
    for part in parts:
        lists[part.weight.shape, part.weight.dtype, part.weight.device].append(part)
    return list(lists.values())


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
