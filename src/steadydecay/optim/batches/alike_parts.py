"""Lists of weights of one shape, or of rows of one weight, that are short enough for small temporaries."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from steadydecay.norms.protocol import LmoCost
from steadydecay.optim.batches.parts import Part

WORKSPACE_BYTES_PER_PARAMETER = 0.4
SMALLEST_WORKSPACE = 2**20
LISTS_FOR_EACH_LANE = 4
# Larger stacks of a lane do not fit into the cache of a CPU.
LARGEST_CPU_CHUNK = 10 * 2**20


class AlikeParts(NamedTuple):
    """Parts of one shape, dtype, device and norm.

    Attributes:
        parts: The parts, at least one.
        cost: The cost of the LMO of one of them.
        room: The bytes available for the temporaries of their group.
        is_by_rows: Whether a part that needs more may be split, because its update is one for each row.
    """

    parts: list[Part]
    cost: LmoCost
    room: int
    is_by_rows: bool

    def chunks(self, lanes: int) -> Iterator[list[Part]]:
        """Yield lists whose temporaries fit beside those of other lanes, or that consist of one part or one row."""
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
                # Make enough lists for lanes to end at about the same time.
                count = min(count, len(self.parts) // (lanes * LISTS_FOR_EACH_LANE))
            count = max(1, count)
            yield from (self.parts[start : start + count] for start in range(0, len(self.parts), count))


def by_shape(parts: list[Part]) -> list[list[Part]]:
    """Return lists of parts, each of one shape, dtype and device."""
    lists: dict[Any, list[Part]] = defaultdict(list)
    for part in parts:
        lists[part.weight.shape, part.weight.dtype, part.weight.device].append(part)
    return list(lists.values())


def workspace_of(parameters: list[Tensor], workspace_bytes: int | None) -> int:
    """Return the bytes for a group's temporaries: by default 0.4 for each entry of its parameters, at least 1 MiB."""
    if workspace_bytes is not None:
        return workspace_bytes
    entries = sum(parameter.numel() for parameter in parameters)
    return max(int(WORKSPACE_BYTES_PER_PARAMETER * entries), SMALLEST_WORKSPACE)


def require_workspace(workspace_bytes: object) -> None:
    """Raise ValueError unless it is None or a number of bytes."""
    if workspace_bytes is not None and not (isinstance(workspace_bytes, int) and workspace_bytes >= 0):
        legal = "None or a whole number of bytes, where 0 means one weight at a time"
        raise ValueError(f"workspace_bytes is {workspace_bytes!r}; it must be {legal}")
