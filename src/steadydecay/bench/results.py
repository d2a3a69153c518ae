"""The results of a benchmark as they are stored, and the numbers that follow from them."""

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
        times: The seconds of a step, by repetition. `reference_times` are ScionC's in the same repetitions.
        state_bytes: The bytes of the optimizer's state.
        extra_bytes: The most that a step takes above weights, gradients and state, including buffers that it keeps.
        polar_errors, singular_values, faults: See `UpdateCheck`.
        calls: The number of calls of ATen operators in a step.
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
        shape_set, layers: What was measured. `all_layers` is the number of layers of the model.
        parameters: The number of its parameters.
        plain_work, least_work: The FLOPs of the products; the latter by dtype.
        rates: The FLOP/s of square products by dtype, one for each repetition.
        missing: The reasons why contestants could not take part.
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
    """The median and quartiles."""

    low: float
    median: float
    high: float


def spread(values: list[float]) -> Spread:
    """Return median and quartiles. For a single value, all three are equal.

    >>> spread([3.0, 1.0, 2.0])
    Spread(low=1.5, median=2.0, high=2.5)
    """
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def ratio_to_reference(row: Row) -> float:
    """Return the median over the repetitions of this step divided by ScionC's step in the same repetition."""
    return statistics.median(own / ours for own, ours in zip(row.times, row.reference_times, strict=True))


def plain_floor(result: Result) -> float:
    """Return the seconds of the plain form's products at the rate of the fastest dtype."""
    return min(result.plain_work / statistics.median(rates) for rates in result.rates.values())


def least_floor(result: Result) -> float:
    """Return the seconds of the least work, in the dtype in which it is fastest."""
    return min(result.least_work[dtype] / statistics.median(rates) for dtype, rates in result.rates.items())


def write_result(result: Result, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_result(path: Path) -> Result:
    """Read a file that `write_result` wrote."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    return Result(**{**fields, "rows": [Row(**row) for row in fields["rows"]]})
