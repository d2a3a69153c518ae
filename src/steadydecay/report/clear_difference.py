"""Decide whether two means over seeds differ by more than chance."""

import math
import statistics
from collections.abc import Sequence

# The number of standard errors from which a difference counts as clear: Student's t at 97.5 % for one, two, ... degrees
# of freedom. The smaller number of seeds minus one is the least that Welch's formula can give.
CLEAR = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean, or NaN for a single value."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def is_clear(one: Sequence[float], other: Sequence[float]) -> bool | None:
    """Return whether the means differ clearly, or None if the spread is unknown (a single value, or all values
    equal)."""
    error = math.hypot(standard_error(one), standard_error(other))
    if not error > 0:
        return None
    freedom = min(len(one), len(other)) - 1
    difference = abs(statistics.fmean(one) - statistics.fmean(other))
    return difference >= CLEAR[min(freedom, len(CLEAR)) - 1] * error
