"""A measure over the steps of a run: smooth it, thin it out for display, and read numbers off it."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class Series:
    """Values at increasing steps. Both have the same length, which is 0 if nothing was logged."""

    steps: FloatArray
    values: FloatArray

    @classmethod
    def of(cls, steps: Iterable[float], values: Iterable[float]) -> "Series":
        return cls(np.fromiter(steps, np.float64), np.fromiter(values, np.float64))

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def last(self) -> float:
        """The last value, or NaN if there is none."""
        return float(self.values[-1]) if len(self) else float("nan")

    def where(self, mask: NDArray[np.bool_]) -> "Series":
        return Series(self.steps[mask], self.values[mask])

    def finite(self) -> "Series":
        return self.where(np.isfinite(self.values))

    def within(self, after: float, until: float) -> "Series":
        """Return the part at steps in (after, until]."""
        return self.where((self.steps > after) & (self.steps <= until))


EMPTY = Series.of((), ())


def mean(series: Series) -> float:
    """Return the mean of the finite values, or NaN if there is none."""
    values = series.finite().values.tolist()
    return statistics.fmean(values) if values else float("nan")


def mean_within(series: Series, after: float, until: float) -> float:
    """Return the mean of the finite values at steps in (after, until], or NaN if there is none.

    >>> mean_within(Series.of([1, 2, 3, 4], [9.0, 1.0, 3.0, 9.0]), 1, 3)
    2.0
    """
    return mean(series.within(after, until))


def smoothed(series: Series, window: int) -> Series:
    """Average over the last `window` values, or over fewer at the start.

    >>> smoothed(Series.of([1, 2, 3], [1.0, 3.0, 8.0]), 2).values.tolist()
    [1.0, 2.0, 5.5]
    """
    if window < 2 or not len(series):
        return series
    sums = np.concatenate([[0.0], np.cumsum(series.values)])
    ends = np.arange(1, len(sums))
    starts = np.maximum(0, ends - window)
    return Series(series.steps, (sums[ends] - sums[starts]) / (ends - starts))


def thinned(series: Series, most: int = 400) -> Series:
    """Keep at most `most` points that look the same: the smallest and the largest of each of `most`/2 stretches.

    Args:
        series: A series of finite values.
        most: The largest number of points, ≥ 2.

    >>> thinned(Series.of(range(8), [0, 0, 9, 0, 0, 0, -9, 0]), 4).values.tolist()
    [0.0, 9.0, 0.0, -9.0]
    """
    count = len(series)
    if count <= most:
        return series
    edges = np.linspace(0, count, most // 2 + 1).astype(int)
    kept = set()
    for start, end in pairwise(edges):
        stretch = series.values[start:end]
        kept |= {start + int(stretch.argmin()), start + int(stretch.argmax())}
    chosen = np.array(sorted(kept))
    return Series(series.steps[chosen], series.values[chosen])
