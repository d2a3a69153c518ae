"""What a benchmark found, as it is stored, and the numbers that follow from it."""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, final

from steadydecay.bench.machine import Circumstances


@final
@dataclass(frozen=True)
class Row:
    """One optimizer.

    Args:
        times: seconds of a step, by repetition; `reference_times` are ScionC's in the same repetitions.
        state_bytes: held by the optimizer's state.
        extra_bytes: the most that a step takes above weights, gradients and state, kept buffers included.
        polar_errors, singular_values, faults: see `UpdateCheck`.
        calls: of ATen operators in a step.
    """

    name: str
    times: list[float]
    reference_times: list[float]
    state_bytes: int
    extra_bytes: int
    calls: int
    polar_errors: list[float]
    singular_values: list[float]
    faults: list[str]


@final
@dataclass(frozen=True)
class Result(Circumstances):
    """One run of the benchmark.

    Args:
        shape_set, layers: what was measured; `all_layers` is how many the model has.
        parameters: numbers in it.
        plain_work, least_work: FLOPs of the products, the latter by dtype.
        rates: FLOPs per second of square products by dtype, one for each repetition.
        missing: why contestants could not take part.
    """

    shape_set: str
    layers: int
    all_layers: int
    parameters: int
    plain_work: int
    least_work: dict[str, int]
    rates: dict[str, list[float]]
    rows: list[Row]
    missing: dict[str, str]


class Spread(NamedTuple):
    """Median and quartiles."""

    low: float
    median: float
    high: float


def spread(values: list[float]) -> Spread:
    """Of one value, three times this.

    >>> spread([3.0, 1.0, 2.0])
    Spread(low=1.5, median=2.0, high=2.5)
    """
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def ratio_to_reference(row: Row) -> float:
    """Median over the repetitions of this step ÷ ScionC's in the same one."""
    return statistics.median(own / ours for own, ours in zip(row.times, row.reference_times, strict=True))


def plain_floor(result: Result) -> float:
    """Seconds of the plain form's products at the best dtype's rate."""
    return min(result.plain_work / statistics.median(rates) for rates in result.rates.values())


def least_floor(result: Result) -> float:
    """Seconds of the least work, in the dtype where this is shortest."""
    return min(result.least_work[dtype] / statistics.median(rates) for dtype, rates in result.rates.items())


def write_result(result: Result, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_result(path: Path) -> Result:
    """A file of `write_result`."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    return Result(**{**fields, "rows": [Row(**row) for row in fields["rows"]]})
