"""Measure how the time of ScionC's step grows with what it steps on.

    python benchmarks/scaling.py width                 # writes benchmarks/results/scaling_width.json
    python benchmarks/scaling.py layers --device cuda  # writes benchmarks/results/scaling_layers_cuda.json
    python benchmarks/scaling_page.py                  # writes docs/scaling.md and docs/scaling.png

All points of a curve step in turn in one process, each repetition in another order.
"""

import argparse
import gc
import json
import math
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from torch.optim import Optimizer

from steadydecay.bench.contender_weights import zero_weights
from steadydecay.bench.machine import Circumstances, circumstances
from steadydecay.bench.peers import scionc
from steadydecay.bench.product_times import dtypes_of
from steadydecay.bench.shape_sets import SHAPE_SETS, Entry
from steadydecay.bench.timing import in_turn, seconds
from steadydecay.bench.work import least_work

RESULTS = Path(__file__).parent / "results"
# Shorter turns are repeated until they take this long: a single short step is mostly noise.
SECONDS_OF_A_TURN = 0.1
FEWEST_POINTS = 3
SMALL = (10, 30, 100, 300, 1_000, 3_000, 10_000)
# Of 2^20 entries each; both sides are multiples of 8.
RECTANGLES = ((1024, 1024), (720, 1456), (512, 2048), (360, 2912), (256, 4096))


class Given(NamedTuple):
    """What one point steps on. Its time is divided by `shared_by`."""

    x: float
    entries: Sequence[Entry]
    shared_by: int = 1


@final
@dataclass(frozen=True)
class Curve:
    """One quantity that grows while all else stays."""

    quantity: str
    text: str
    points: Callable[[], list[Given]]


def matrices(shape: tuple[int, int], count: int) -> list[Entry]:
    return [Entry("matrix", shape, "hidden")] * count


def squares() -> list[Given]:
    """At least 2^20 entries at each width, so that a step is long enough to be timed."""
    counts = {2**power: max(1, (1024 // 2**power) ** 2) for power in range(7, 14)}
    return [Given(side, matrices((side, side), count), count) for side, count in counts.items()]


CURVES = {
    "width": Curve(
        "width",
        "Square matrices, with the time for one of them. Small matrices are stepped together, 2²⁰ entries in all.",
        squares,
    ),
    "layers": Curve(
        "layers",
        "Blocks of `gpt-mini` (width 384) and its embedding.",
        lambda: [Given(layers, SHAPE_SETS["gpt-mini"].entries(layers)) for layers in (1, 2, 4, 8, 16, 32)],
    ),
    "aspect": Curve(
        "aspect ratio",
        "Four matrices of 2²⁰ entries each, from 1024×1024 to 256×4096.",
        lambda: [Given(long / short, matrices((short, long), 4)) for short, long in RECTANGLES],
    ),
    "vectors": Curve(
        "vectors",
        "Vectors of 64 entries under the Bias norm.",
        lambda: [Given(count, [Entry("vector", (64,), "vector")] * count) for count in SMALL],
    ),
    "small-matrices": Curve(
        "8×8 matrices",
        "Matrices of 8×8 entries under the Spectral norm.",
        lambda: [Given(count, matrices((8, 8), count)) for count in SMALL],
    ),
}


@final
@dataclass(frozen=True)
class Point:
    """Measured.

    Args:
        x: the quantity of the curve.
        shared_by: matrices that the time is divided by.
        parameters: numbers that the step moves.
        work: FLOPs of the least products of the step; where it has none, `parameters`.
        times: seconds of a step, by repetition.
    """

    x: float
    shared_by: int
    parameters: int
    work: int
    times: list[float]

    @property
    def unit_time(self) -> float:
        return statistics.median(self.times) / self.shared_by


@final
@dataclass(frozen=True)
class Result(Circumstances):
    """One curve on one device."""

    curve: str
    points: list[Point]


class Exponent(NamedTuple):
    """y ∝ x^value, and its standard error."""

    value: float
    error: float


def fitted(xs: Sequence[float], ys: Sequence[float]) -> Exponent:
    """Least squares in logarithms; of `FEWEST_POINTS` or more.

    >>> fitted([1, 2, 4], [5, 40, 320])
    Exponent(value=3.0, error=0.0)
    """
    log_xs, log_ys = ([math.log2(value) for value in values] for values in (xs, ys))
    slope, intercept = statistics.linear_regression(log_xs, log_ys)
    residuals = sum((y - slope * x - intercept) ** 2 for x, y in zip(log_xs, log_ys, strict=True))
    error = math.sqrt(residuals / (len(xs) - 2)) / math.sqrt(len(xs) * statistics.pvariance(log_xs))
    return Exponent(round(slope, 12), round(error, 12))


def exponent_of_time(points: Sequence[Point]) -> Exponent:
    return fitted([point.x for point in points], [point.unit_time for point in points])


def exponent_of_work(points: Sequence[Point]) -> Exponent:
    return fitted([point.x for point in points], [point.work / point.shared_by for point in points])


def optimizer_on(entries: Sequence[Entry], device: torch.device) -> Optimizer:
    """ScionC after its first step, which makes its state."""
    weights = zero_weights(entries, device)
    for weight in weights.every():
        weight.grad = torch.randn_like(weight)
    (optimizer,) = scionc(None, weights)
    optimizer.step()
    return optimizer


def turn(optimizer: Optimizer, device: torch.device) -> float:
    """Mean seconds of the steps of one turn."""
    times: list[float] = []
    while sum(times) < SECONDS_OF_A_TURN:
        times.append(seconds(optimizer.step, device))
    return statistics.fmean(times)


def turns_of(works: Mapping[str, Callable[[], float]], repetitions: int) -> list[dict[str, float]]:
    """`in_turn`, during which no collection looks through all that was imported."""
    gc.collect()
    gc.freeze()
    try:
        return list(in_turn(works, repetitions))
    finally:
        gc.unfreeze()


def measured(curve: str, largest: float, repetitions: int, device: torch.device) -> Result:
    given = [point for point in CURVES[curve].points() if point.x <= largest]
    if len(given) < FEWEST_POINTS:
        raise SystemExit(f"--largest {largest:g} leaves {len(given)} points; legal is {FEWEST_POINTS} or more")
    works = {str(point.x): partial(turn, optimizer_on(point.entries, device), device) for point in given}
    turns = turns_of(works, repetitions)
    points = []
    for x, entries, shared_by in given:
        parameters = sum(math.prod(entry.shape) for entry in entries)
        work = least_work(entries, dtypes_of(device)[-1]) or parameters
        points.append(Point(x, shared_by, parameters, work, [times[str(x)] for times in turns]))
    return Result(curve, points, **script_circumstances("scaling.py", device))


def script_circumstances(script: str, device: torch.device) -> dict[str, Any]:
    """Of a script of this folder."""
    command = shlex.join(["python", f"benchmarks/{script}", *sys.argv[1:]])
    return circumstances(command, device, ["torch", "steadydecay"])


def written(result: Any, name: str, device: str) -> Path:
    """The file of a result, a dataclass; on a CPU its name does not say so."""
    path = RESULTS / (f"{name}.json" if device == "cpu" else f"{name}_{device}.json")
    path.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    return path


def read_results(folder: Path = RESULTS) -> list[Result]:
    """In the order of `CURVES`."""
    every = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("scaling_*.json"))]
    results = [Result(**{**fields, "points": [Point(**point) for point in fields["points"]]}) for fields in every]
    return sorted(results, key=lambda result: list(CURVES).index(result.curve))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curve", choices=CURVES)
    parser.add_argument("--largest", type=float, default=math.inf, help="points beyond it are left out")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    result = measured(options.curve, options.largest, options.repetitions, torch.device(options.device))
    path = written(result, f"scaling_{options.curve}", options.device)
    for point in result.points:
        print(f"{options.curve} {point.x:g}: {1e3 * point.unit_time:.4g} ms")
    print(f"exponent {exponent_of_time(result.points)}, of the work {exponent_of_work(result.points)}, {path}")


if __name__ == "__main__":
    main()
