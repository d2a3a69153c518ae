"""Numbers that the experiments read from a run, or from two runs with the same seed."""

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from steadydecay.report.runs import Run
from steadydecay.report.series import Series, mean, mean_within, smoothed
from steadydecay.report.summary import end_of, middle_of

Read = Callable[[Run], Series]
# Gradient norms and losses of single batches are noisy, so means over this share of a run are compared.
WINDOW_SHARE = 0.05


def weight_norm(run: Run) -> Series:
    """‖θ‖ of the hidden layers after each step."""
    return run.of_role("weight_norm", run.main_role)


def gradient_norm(run: Run) -> Series:
    """‖g‖ of the hidden layers in each step."""
    return run.of_role("gradient_norm", run.main_role)


def validation_loss(run: Run) -> Series:
    """Return the mean over the validation examples, in nats."""
    return run.validation_loss


def final_loss(run: Run) -> float:
    """Validation loss after the last step, in nats."""
    return run.validation_loss.last


def final_accuracy(run: Run) -> float:
    """Return the percentage of validation images that are classified correctly after the last step."""
    return 100 * run.accuracy.last


def norm_kept(run: Run) -> float:
    """Return ‖θ‖ at the end divided by the mean around the middle."""
    norms, steps = weight_norm(run), run.steps_planned
    return norms.last / mean_within(norms, *middle_of(steps))


def gradient_rise(run: Run) -> float:
    """Return the mean ‖g‖ over the last 5 % of the steps divided by the mean around the middle."""
    norms, steps = gradient_norm(run), run.steps_planned
    return mean_within(norms, *end_of(steps)) / mean_within(norms, *middle_of(steps))


def swing(run: Run, read: Read, after: float, until: float) -> float:
    """Return the largest value of a smoothed measure divided by the smallest, between two shares of a run."""
    part = _smooth(run, read).within(after * run.steps_planned, until * run.steps_planned)
    return float(part.values.max() / part.values.min()) if len(part) else math.nan


def gap(one: Run, other: Run, read: Read, after: float = 0.0, until: float = 1.0) -> float:
    """Return the mean over steps of |log(one ÷ other)| of a smoothed measure between two shares; 0.01 is 1 %."""
    first, second = _smooth(one, read), _smooth(other, read)
    steps = one.steps_planned
    both = np.intersect1d(first.steps, second.steps)
    both = both[(both > after * steps) & (both <= until * steps)]
    if not len(both):
        return math.nan
    values = np.array([np.interp(both, series.steps, series.values) for series in (first, second)])
    # A head that starts at zero has no gradient in the first step.
    values = values[:, (values > 0).all(axis=0)]
    return float(np.abs(np.log(values[0] / values[1])).mean()) if values.size else math.nan


def gaps_over_seeds(
    ones: Sequence[Run], others: Sequence[Run], read: Read, after: float = 0.0, until: float = 1.0
) -> list[float]:
    """`gap` of runs of the same seed, over the mean `gap` of two runs in `others` whose seeds differ.

    1 means that the two settings differ as much as two seeds of one setting.
    """
    neighbours = pairwise([*others, others[0]])
    between_seeds = statistics.fmean(gap(one, other, read, after, until) for one, other in neighbours)
    return [gap(one, other, read, after, until) / between_seeds for one, other in pairs(ones, others)]


def pairs(ones: Sequence[Run], others: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Pair the runs with the same seed."""
    by_seed = {run.configuration.get("seed"): run for run in others}
    return [(run, by_seed[run.configuration.get("seed")]) for run in ones if run.configuration.get("seed") in by_seed]


def differences(ones: Sequence[Run], others: Sequence[Run], measure: Callable[[Run], float]) -> list[float]:
    """Return the differences of a number of each run between the two settings, seed by seed."""
    return [measure(one) - measure(other) for one, other in pairs(ones, others)]


def mean_and_deviation(values: Sequence[float], digits: int = 3) -> str:
    """Format the mean, with the sample standard deviation if there are several values.

    >>> mean_and_deviation([1.0, 2.0, 3.0], 2)
    '2.00 ± 1.00'
    """
    found = np.array(values, dtype=float)
    if len(found) < 2:
        return f"{found.mean():.{digits}f}" if len(found) else "none"
    return f"{found.mean():.{digits}f} ± {found.std(ddof=1):.{digits}f}"


def _smooth(run: Run, read: Read) -> Series:
    series = read(run).finite()
    return smoothed(series, max(1, round(WINDOW_SHARE * len(series))))


def mean_value(run: Run, read: Read, after: float, until: float) -> float:
    """Return the mean of a measure between two shares of a run."""
    return mean(read(run).within(after * run.steps_planned, until * run.steps_planned))
