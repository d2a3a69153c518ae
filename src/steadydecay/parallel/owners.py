"""Assign the update of each matrix to a rank: the longest first, each to the rank with the least work."""

import heapq
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple


class Work(NamedTuple):
    """The units of work in one tensor, which are its matrices.

    Attributes:
        shape: The shape of the tensor.
        units: The number of units.
        cost: The cost of each unit.
        size: The bytes of all units.
    """

    shape: tuple[int, ...]
    units: int
    cost: int
    size: int


def dealt(
    work: Sequence[Work], ranks: int, least_bytes: int, loads: list[int], replica_of: Sequence[Hashable] = ()
) -> list[list[tuple[int, list[int]]]]:
    """Return buckets of tensors, each tensor by its index in `work` with the owners of its units.

    The longest come first, and those of one shape together.

    Args:
        work: The work of each tensor.
        ranks, loads, replica_of: As in `owners_of`, which writes to `loads`.
        least_bytes: The smallest size of a bucket.

    >>> dealt([Work((2, 2), 1, 8, 16), Work((4, 4), 2, 64, 128)], 2, 128, [])
    [[(1, [0, 1])], [(0, [0])]]
    """
    order = sorted(range(len(work)), key=lambda index: (-work[index].cost, work[index].shape, index))
    ordered = [work[index] for index in order]
    owners = owners_of([one.cost for one in ordered for _ in range(one.units)], ranks, loads, replica_of)
    of_each = [owners[start:stop] for start, stop in pairwise(accumulate((one.units for one in ordered), initial=0))]
    runs = buckets_of([one.units for one in ordered], [one.size for one in ordered], ranks, least_bytes)
    return [list(zip(order[run], of_each[run], strict=True)) for run in runs]


def owners_of(
    costs: Sequence[int], ranks: int, loads: list[int] | None = None, replica_of: Sequence[Hashable] = ()
) -> list[int]:
    """Return the rank that computes each unit of work, with the same result on every rank.

    No rank has more than 4/3 of the best possible maximum (Graham, 1969), and with many units far less.

    Args:
        costs: The cost of each unit, the largest first.
        ranks: The number of ranks that share the work.
        loads: The work that each rank already has; empty means none. What is assigned here is added to it.
        replica_of: The replica that each rank belongs to; by default all belong to one. Among ranks with equally little
            work, the next unit goes to one of the replica with the least. This way every replica passes on as much as
            the one with the most.

    >>> owners_of([3, 3, 2, 2, 2], 2)
    [0, 1, 0, 1, 0]
    >>> owners_of([3, 2], 4, replica_of=[0, 0, 1, 1])
    [0, 2]
    """
    loads = [] if loads is None else loads
    loads += [0] * (ranks - len(loads))
    waiting: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
    for rank, (load, replica) in enumerate(zip(loads, replica_of or [None] * ranks, strict=True)):
        waiting[replica].append((load, rank))
    for of_replica in waiting.values():
        heapq.heapify(of_replica)
    dealt_to = dict.fromkeys(waiting, 0)
    owners = []
    for cost in costs:
        replica = min(waiting, key=lambda one: (waiting[one][0][0], dealt_to[one]))
        load, rank = waiting[replica][0]
        heapq.heapreplace(waiting[replica], (load + cost, rank))
        loads[rank] += cost
        dealt_to[replica] += cost
        owners.append(rank)
    return owners


def buckets_of(counts: Sequence[int], sizes: Sequence[int], ranks: int, least_bytes: int) -> Iterator[slice]:
    """Yield runs of tensors that are exchanged together, long enough for every rank to have work in each but the last.

    Args:
        counts: The number of units of work in each tensor.
        sizes: The bytes of each tensor.
        ranks: The number of ranks that share the work.
        least_bytes: The smallest size of a bucket.

    >>> list(buckets_of([1] * 7, [10] * 7, 2, 35))
    [slice(0, 4, None), slice(4, 7, None)]
    """
    start, count, size = 0, 0, 0
    for index, (of_one, bytes_of_one) in enumerate(zip(counts, sizes, strict=True)):
        count, size = count + of_one, size + bytes_of_one
        if count >= ranks and count % ranks == 0 and size >= least_bytes:
            yield slice(start, index + 1)
            start, count, size = index + 1, 0, 0
    if start < len(counts):
        yield slice(start, len(counts))
