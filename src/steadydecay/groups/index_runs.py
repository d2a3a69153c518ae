"""Which rows or columns are here, as runs of consecutive ones, in order; no torch."""

from collections.abc import Iterator, Sequence

Runs = Sequence[range]


def taken(runs: Runs, start: int, stop: int) -> list[range]:
    """The entries from the start-th to before the stop-th, where there are so many.

    >>> taken([range(0, 2), range(4, 7)], 1, 4)
    [range(1, 2), range(4, 6)]
    """
    pieces, passed = [], 0
    for run in runs:
        pieces.append(run[max(0, start - passed) : max(0, stop - passed)])
        passed += len(run)
    return [piece for piece in pieces if piece]


def below(runs: Runs, limit: int) -> int:
    """How many entries lie below a limit.

    >>> below([range(0, 2), range(4, 7)], 5)
    3
    """
    return sum(max(0, min(run.stop, limit) - run.start) for run in runs)


def flattened(outer: Runs, inner: Runs, size: int) -> list[range]:
    """Numbers of the entries (i, j) where two dimensions are seen as one, for i of the outer and j of the inner runs.

    Args:
        outer, inner: of the two dimensions.
        size: of the inner dimension.

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
