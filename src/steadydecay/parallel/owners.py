"""Who computes the update of which matrix: the longest first, each to the rank that has least to do."""

import heapq
from collections.abc import Iterator, Sequence
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


def dealt(work: Sequence[Work], ranks: int, least_bytes: int, loads: list[int]) -> list[list[tuple[int, list[int]]]]:
    """Buckets of tensors, each tensor by its index in `work` with the owners of its units.

    The longest come first, and those of one shape together.

    Args:
        work: of each tensor.
        ranks, loads: of `owners_of`, which writes to `loads`.
        least_bytes: of a bucket.

    >>> dealt([Work((2, 2), 1, 8, 16), Work((4, 4), 2, 64, 128)], 2, 128, [])
    [[(1, [0, 1])], [(0, [0])]]
    """
    order = sorted(range(len(work)), key=lambda index: (-work[index].cost, work[index].shape, index))
    ordered = [work[index] for index in order]
    owners = owners_of([one.cost for one in ordered for _ in range(one.units)], ranks, loads)
    of_each = [owners[start:stop] for start, stop in pairwise(accumulate((one.units for one in ordered), initial=0))]
    runs = buckets_of([one.units for one in ordered], [one.size for one in ordered], ranks, least_bytes)
    return [list(zip(order[run], of_each[run], strict=True)) for run in runs]


def owners_of(costs: Sequence[int], ranks: int, loads: list[int] | None = None) -> list[int]:
    """The rank that computes each unit of work; the same on every rank that asks.

    No rank does more than 4/3 of the best possible (Graham, 1969), and with many units far less.

    Args:
        costs: of each unit, the largest first.
        ranks: how many share the work.
        loads: what each of them has to do already, none where it is empty; what is dealt here is added to it.

    >>> owners_of([3, 3, 2, 2, 2], 2)
    [0, 1, 0, 1, 0]
    """
    loads = [] if loads is None else loads
    loads += [0] * (ranks - len(loads))
    waiting = [(load, rank) for rank, load in enumerate(loads)]
    heapq.heapify(waiting)
    owners = []
    for cost in costs:
        load, rank = waiting[0]
        heapq.heapreplace(waiting, (load + cost, rank))
        loads[rank] += cost
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
