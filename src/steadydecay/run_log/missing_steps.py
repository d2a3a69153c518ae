"""Steps that a log of regular steps does not have."""

from collections.abc import Iterable
from itertools import pairwise

Stretch = tuple[int, int]
NAMED = 3


def missing_steps(steps: Iterable[float], last: int, every: float = 1) -> list[Stretch]:
    """The first and the last step of each stretch up to `last` that is not among `steps`, which rise.

    Args:
        steps: those logged, from the first on; later ones than `last` do not count.
        last: the step up to which there should be some.
        every: > 0, how far they are apart where none is missing.

    >>> missing_steps([1, 2, 5, 6], last=8)
    [(3, 4), (7, 8)]
    """
    bounds = [0, *(step for step in steps if 0 < step <= last), last + every]
    # Half a distance more is still no hole: others may round their steps.
    holes = ((before, after) for before, after in pairwise(bounds) if after - before > 1.5 * every)
    return [(round(before + every), round(after - every)) for before, after in holes]


def in_words(stretches: list[Stretch]) -> str:
    """The first three stretches, and how many more there are.

    >>> in_words([(3, 4), (7, 7)])
    '3 to 4, 7'
    """
    named = [f"{first:,} to {last:,}" if last > first else f"{first:,}" for first, last in stretches[:NAMED]]
    more = [f"and {len(stretches) - NAMED:,} stretches more"] if len(stretches) > NAMED else []
    return ", ".join([*named, *more])
