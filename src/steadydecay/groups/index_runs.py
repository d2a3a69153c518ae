"""Rows or columns that a process holds, as runs of consecutive ones in order. This does not import torch."""

from collections.abc import Iterator, Sequence

Runs = Sequence[range]


def taken(runs: Runs, start: int, stop: int) -> list[range]:
    """Return the entries from the start-th up to but not including the stop-th, as far as they exist.

    >>> taken([range(0, 2), range(4, 7)], 1, 4)
    [range(1, 2), range(4, 6)]
    """
    pieces, passed = [], 0
    for run in runs:
        pieces.append(run[max(0, start - passed) : max(0, stop - passed)])
        passed += len(run)
    return [piece for piece in pieces if piece]


def below(runs: Runs, limit: int) -> int:
    """Return how many entries lie below a limit.

    >>> below([range(0, 2), range(4, 7)], 5)
    3
    """
    return sum(max(0, min(run.stop, limit) - run.start) for run in runs)


def flattened(outer: Runs, inner: Runs, size: int) -> list[range]:
    """Return the numbers of the entries (i, j) when two dimensions are seen as one, for i in the outer and j in the
    inner runs.

    Args:
        outer, inner: The runs of the two dimensions.
        size: The size of the inner dimension.

    >>> flattened([range(1, 3)], [range(0, 2)], 4), flattened([range(1, 3)], [range(0, 4)], 4)
    ([range(4, 6), range(8, 10)], [range(4, 12)])
    """
    if list(inner) == [range(size)]:
        return [range(run.start * size, run.stop * size) for run in outer]
    return list(_shifted(outer, inner, size))


def _shifted(outer: Runs, inner: Runs, size: int) -> Iterator[range]:
    for of_outer in outer:
        for i in of_outer:
            yield from (range(i * size + run.start, i * size + run.stop) for run in inner)
