"""Whether two means over seeds differ by more than chance."""

import math
import statistics
from collections.abc import Sequence

# Standard errors between two means from which a difference is called clear: Student's t at 97.5 % for one, two, ...
# degrees of freedom; the smaller number of seeds less one is the least that Welch's formula can give.
CLEAR = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; NaN for one value."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def is_clear(one: Sequence[float], other: Sequence[float]) -> bool | None:
    """Whether the means differ clearly; None where the spread is unknown: one has a single value, or all are equal."""
    error = math.hypot(standard_error(one), standard_error(other))
    if not error > 0:
        return None
    freedom = min(len(one), len(other)) - 1
    difference = abs(statistics.fmean(one) - statistics.fmean(other))
    return difference >= CLEAR[min(freedom, len(CLEAR)) - 1] * error
