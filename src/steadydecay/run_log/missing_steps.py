"""Find the steps that are missing from a log with regular steps."""

from collections.abc import Iterable
from itertools import pairwise

Stretch = tuple[int, int]
NAMED = 3


def missing_steps(steps: Iterable[float], last: int, every: float = 1) -> list[Stretch]:
    """Return the first and last step of each stretch up to `last` that is missing from `steps`.

    Args:
        steps: The logged steps, in increasing order from the first on. Steps after `last` are ignored.
        last: The step up to which steps are expected.
        every: The distance between successive steps when none is missing, > 0.

    >>> missing_steps([1, 2, 5, 6], last=8)
    [(3, 4), (7, 8)]
    """
    bounds = [0, *(step for step in steps if 0 < step <= last), last + every]
    # Up to half a distance more does not count as a gap, because writers may round their steps.
    holes = ((before, after) for before, after in pairwise(bounds) if after - before > 1.5 * every)
    return [(round(before + every), round(after - every)) for before, after in holes]


def in_words(stretches: list[Stretch]) -> str:
    """Describe the first three stretches and say how many more there are.

    >>> in_words([(3, 4), (7, 7)])
    '3 to 4, 7'
    """
    named = [f"{first:,} to {last:,}" if last > first else f"{first:,}" for first, last in stretches[:NAMED]]
    more = [f"and {len(stretches) - NAMED:,} more stretches"] if len(stretches) > NAMED else []
    return ", ".join([*named, *more])
