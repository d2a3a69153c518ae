"""Derive a verdict from measured numbers, by a rule that is written down before anything is measured."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]
CONFIDENCE = 0.95
RULE = (
    "Every quantity below is measured in each seed. Its 95 % confidence interval is that of Student's t for the mean "
    "over the seeds. A criterion holds if the whole interval lies in its range, fails if the whole interval lies "
    "outside, and is open otherwise. The claim is reproduced if all criteria hold, not reproduced if one fails, and "
    "inconclusive otherwise."
)


@final
@dataclass(frozen=True)
class Criterion:
    """The range of a quantity for which a claim holds.

    Attributes:
        quantity: The quantity in words, with its unit.
        low, high: The open range in which its mean must lie.
    """

    quantity: str
    low: float = -math.inf
    high: float = math.inf

    @property
    def range_in_words(self) -> str:
        if math.isinf(self.low):
            return f"below {self.high:g}"
        return f"above {self.low:g}" if math.isinf(self.high) else f"between {self.low:g} and {self.high:g}"


class Judged(NamedTuple):
    """A criterion and what was measured.

    Attributes:
        criterion: The criterion with its range.
        values: One value for each seed.
        mean, deviation: The mean over the seeds, and the sample standard deviation, which is NaN for one seed.
        low, high: The confidence interval of the mean.
        verdict: The resulting verdict.
    """

    criterion: Criterion
    values: Sequence[float]
    mean: float
    deviation: float
    low: float
    high: float
    verdict: Verdict


def judged(criterion: Criterion, values: Sequence[float]) -> Judged:
    """Judge values, one for each seed, by a criterion. Missing or non-finite values leave it undecided.

    >>> judged(Criterion("‖θ‖ at the end over that in the middle", high=0.9), [0.41, 0.43, 0.42]).verdict
    'reproduced'
    >>> judged(Criterion("difference of loss", high=0.0), [-0.01, 0.02, -0.02]).verdict
    'inconclusive'
    >>> judged(Criterion("difference of loss", high=0.0), [0.01]).verdict
    'inconclusive'
    """
    if not values or not all(map(math.isfinite, values)):
        return Judged(criterion, values, math.nan, math.nan, -math.inf, math.inf, "inconclusive")
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    low, high = confidence_interval(values)
    if criterion.low < low and high < criterion.high:
        return Judged(criterion, values, mean, deviation, low, high, "reproduced")
    is_outside = high <= criterion.low or criterion.high <= low
    return Judged(criterion, values, mean, deviation, low, high, "not reproduced" if is_outside else "inconclusive")


def confidence_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of Student's t for the mean of independent values; it is infinite for one value.

    >>> [round(bound, 3) for bound in confidence_interval([1.0, 2.0, 3.0])]
    [-0.484, 4.484]
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return -math.inf, math.inf
    # scipy comes with scikit-learn, which the extra installs for the digits.
    from scipy.stats import t

    quantile = float(t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1))
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Combine the verdicts on a claim's criteria into one on the claim.

    >>> overall(["reproduced", "inconclusive"])
    'inconclusive'
    >>> overall(["reproduced", "inconclusive", "not reproduced"])
    'not reproduced'
    """
    found = set(verdicts)
    for decisive in ("not reproduced", "inconclusive"):
        if decisive in found:
            return decisive
    return "reproduced" if found else "inconclusive"
