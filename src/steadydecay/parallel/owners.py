"""Who computes the update of which matrix: the longest first, each to the rank that has least to do."""

import heapq
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple


class Work(NamedTuple):
    """The units of work in one tensor: its matrices.

    Attributes:
        shape: of the tensor.
        units: how many.
        cost: of each.
        size: bytes of all.
    """

    shape: tuple[int, ...]
    units: int
    cost: int
    size: int


def dealt(
    work: Sequence[Work], ranks: int, least_bytes: int, loads: list[int], replica_of: Sequence[Hashable] = ()
) -> list[list[tuple[int, list[int]]]]:
    """Buckets of tensors, each tensor by its index in `work` with the owners of its units.

    The longest come first, and those of one shape together.

    Args:
        work: of each tensor.
        ranks, loads, replica_of: of `owners_of`, which writes to `loads`.
        least_bytes: of a bucket.

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
    """The rank that computes each unit of work; the same on every rank that asks.

    No rank does more than 4/3 of the best possible (Graham, 1969), and with many units far less.

    Args:
        costs: of each unit, the largest first.
        ranks: how many share the work.
        loads: what each of them has to do already, none where it is empty; what is dealt here is added to it.
        replica_of: the replica in which each rank is; by default all are in one. Of ranks that have equally little to
            do, one of the replica that has least takes the next unit: every replica hands on as much as the one with
            the most.

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
    """Runs of tensors that are exchanged together, long enough that every rank has work in each but the last.

    Args:
        counts: units of work in each tensor.
        sizes: bytes of each tensor.
        ranks: how many share the work.
        least_bytes: of a bucket.

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
