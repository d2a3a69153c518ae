"""Write docs/scaling.md and docs/scaling.png from the committed results.

    python benchmarks/scaling_page.py
    python benchmarks/scaling_page.py --keep-many-gpus  # what is computed for many GPUs stays as it is

The results are written by benchmarks/scaling.py, benchmarks/end_to_end.py and benchmarks/sharded_step.py; the tables of
many GPUs are computed, which takes a while.
"""

import argparse
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import end_to_end
import many_gpus_page
import scaling
import sharded_step
from parallel_cost import Cluster
from scaling import CURVES, Exponent, exponent_of_time, exponent_of_work

from steadydecay.bench.result_table import three_digits
from steadydecay.bench.results import spread

DOCS = Path(__file__).parents[1] / "docs"
PAGE, PICTURE = DOCS / "scaling.md", DOCS / "scaling.png"
FLAGS = re.MULTILINE | re.DOTALL
NONE = "–"
LAST = 3

CURVES_TEXT = """\
## What does it cost me on one device?

{shares}The measurements below are made by `benchmarks/scaling.py` and `benchmarks/end_to_end.py`. Times are medians in
milliseconds, with quartiles in brackets. Compare times only within one run.

## How the time grows with one quantity

Weights are float32, gradients are random, and the polar factor is computed in its default form. All points of a curve
take their steps in turn in one process, in a different order in each repetition. Turns shorter than 0.1 s are repeated.

![Time on the CPU against each quantity, with the fitted power laws](scaling.png)

- **exponent of time**: the exponent of the power law through all points, fitted by least squares in logarithms, with
  its standard error; and the same through the last three points, where the fixed cost of a step matters least.
- **exponent of work**: the same fit to the FLOPs of the products of the form with the fewest; for vectors, to the
  number of entries.
- **since the last point**: the exponent between a point and the one before it.
"""

END_TO_END_TEXT = """\
## Share of a training step

A training step consists of the forward and backward pass, under autocast to bfloat16 where that is fast, the step of
the optimizer, and clearing the gradients. Gradients are not clipped, and batches are ready before the clock starts. All
optimizers take turns in one process on copies of the same model and the same batches, with the model eager and under
`torch.compile` with its defaults. Muon has the matrices that ScionC orthogonalises, each as its own parameter, and
fused AdamW has the rest. On a GPU, the clock waits for the device before and after the optimizer.

- **share**: the optimizer's share of the step, as the median over repetitions.
- **share at … rows**: the share with the usual batch. It is computed, not measured, as if the passes took time in
  proportion to the rows.
- **÷ AdamW**: the rate divided by that of AdamW with the model in the same form.
"""


def page_of(curves: Sequence[scaling.Result], ends: Sequence[end_to_end.Result], many_gpus: str = "") -> str:
    parts = [many_gpus_page.TITLE, many_gpus, CURVES_TEXT.format(shares=_shares(ends))]
    for device in dict.fromkeys(result.place for result in curves):
        parts += _curves_on(device, [result for result in curves if result.place == device])
    parts += [END_TO_END_TEXT, *map(_end_to_end, ends)]
    return "\n".join([*parts, _not_measured([*curves, *ends])])


def _curves_on(device: str, results: Sequence[scaling.Result]) -> Iterator[str]:
    yield "\n".join(
        [
            f"### {device}",
            "",
            "| | from | to | exponent of time | last three points | exponent of work |",
            "|---|---|---|---|---|---|",
            *map(_summary, results),
            "",
        ]
    )
    yield from map(_curve, results)


def _summary(result: scaling.Result) -> str:
    points, last = result.points, result.points[-LAST:]
    ends = f"{points[0].x:.4g} | {points[-1].x:.5g}"
    exponents = f"{_exponent(exponent_of_time(points))} | {_exponent(exponent_of_time(last))}"
    return f"| {CURVES[result.curve].quantity} | {ends} | {exponents} | {exponent_of_work(points).value:.2f} |"


def _curve(result: scaling.Result) -> str:
    curve = CURVES[result.curve]
    return "\n".join(
        [
            f"#### {curve.quantity[0].upper()}{curve.quantity[1:]}",
            "",
            f"{curve.text} {_run(result)}",
            "",
            f"| {curve.quantity} | parameters | time, ms | GFLOP/s | since the last point |",
            "|---|---|---|---|---|",
            *_points(result.points),
            "",
        ]
    )


def _points(points: Sequence[scaling.Point]) -> Iterator[str]:
    since = [NONE] + [
        f"{math.log(after.unit_time / before.unit_time) / math.log(after.x / before.x):.2f}"
        for before, after in pairwise(points)
    ]
    for point, exponent in zip(points, since, strict=True):
        times = [time / point.shared_by for time in point.times]
        rate = (
            three_digits(point.work / point.shared_by / point.unit_time / 1e9)
            if point.work != point.parameters
            else NONE
        )
        yield f"| {point.x:.5g} | {point.parameters:,} | {_times(times)} | {rate} | {exponent} |"


def _end_to_end(result: end_to_end.Result) -> str:
    rows, full, item = result.rows_of_batch, result.full_rows, result.item
    cut = "" if rows == full else f", a batch cut from {full} rows to {rows}"
    size = f"{result.parameters / 1e6:.1f} million parameters, {result.items:,} {item} a step{cut}; {result.data}."
    return "\n".join(
        [
            f"### {result.model}, {result.place}",
            "",
            f"{size} {_run(result)}",
            "",
            f"| optimizer | model | step, ms | optimizer, ms | share | share at {full} rows | {item}/s | ÷ AdamW |",
            "|---|---|---|---|---|---|---|---|",
            *(_row(row, result) for row in result.rows),
            "",
            *(f"- {name} is not measured: {error}." for name, error in result.missing.items()),
        ]
    )


def _shares(ends: Sequence[end_to_end.Result]) -> str:
    """The answer in a sentence: of ScionC with an eager model."""
    of = [(one.model, _whole_share(row, one)) for one in ends for row in one.rows if _is_answer(row)]
    said = ", ".join(f"{_percent(share)} ({model})" for model, share in of)
    return f"ScionC takes {said} of a training step with the usual batch.\n" if of else ""


def _is_answer(row: end_to_end.Row) -> bool:
    return row.optimizer == "ScionC" and not row.is_compiled


def _whole_share(row: end_to_end.Row, result: end_to_end.Result) -> float:
    """Of the optimizer, as if the passes took time in proportion to the rows."""
    optimizer = statistics.median(row.optimizer_times)
    return optimizer / (optimizer + (row.step - optimizer) * result.full_rows / result.rows_of_batch)


def _row(row: end_to_end.Row, result: end_to_end.Result) -> str:
    rival = next(one for one in result.rows if one.is_compiled == row.is_compiled)
    against = statistics.median(one / own for one, own in zip(rival.step_times, row.step_times, strict=True))
    model, whole = "compiled" if row.is_compiled else "eager", _percent(_whole_share(row, result))
    times = f"{_times(row.step_times)} | {_times(row.optimizer_times)} | {_percent(row.share)} | {whole}"
    return f"| {row.optimizer} | {model} | {times} | {three_digits(result.items / row.step)} | {against:.2f} |"


def _times(times: Sequence[float]) -> str:
    low, median, high = (three_digits(1000 * time) for time in spread(list(times)))
    return f"{median} ({low}–{high})"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _exponent(exponent: Exponent) -> str:
    return f"{exponent.value:.2f} ± {exponent.error:.2f}"


def _run(result: scaling.Result | end_to_end.Result) -> str:
    return f"`{result.command}`, {result.date}; {result.software}."


def _not_measured(results: Sequence[scaling.Result | end_to_end.Result]) -> str:
    has_gpu = any(result.device["type"] == "cuda" for result in results)
    return f"## Not measured\n\n{NONE if has_gpu else 'Any GPU.'}\n"


def draw(results: Sequence[scaling.Result], path: Path) -> None:
    """A panel for each curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(results), 3), layout="constrained")
    for axes, result in zip(figure.subplots(1, len(results)), results, strict=True):
        xs, times = ([getattr(point, name) for point in result.points] for name in ("x", "unit_time"))
        exponent, middle = exponent_of_time(result.points).value, statistics.geometric_mean(times)
        line = [middle * (x / statistics.geometric_mean(xs)) ** exponent * 1e3 for x in xs]
        axes.loglog(xs, line, color="0.7")
        axes.loglog(xs, [1e3 * time for time in times], "o", color="C0")
        axes.set(title=f"∝ {CURVES[result.curve].quantity}^{exponent:.2f}", xlabel=CURVES[result.curve].quantity)
        axes.set_ylabel("ms")
    figure.savefig(path, dpi=110)


def kept_many_gpus(page: str) -> str:
    """What a page says about many GPUs."""
    part = re.search(r"^## What does it cost me on N GPUs\?$.*?(?=^## What does it cost me on one)", page, FLAGS)
    if part is None:
        raise SystemExit(f"{PAGE} has no part about many GPUs to keep; leave --keep-many-gpus out, which computes it")
    return part[0].removesuffix("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep-many-gpus", action="store_true", help="do not compute anew what takes long")
    is_kept = parser.parse_args().keep_many_gpus
    curves = scaling.read_results()
    draw([result for result in curves if result.device["type"] != "cuda"], PICTURE)
    if is_kept:
        many_gpus = kept_many_gpus(PAGE.read_text(encoding="utf-8"))
    else:
        many_gpus = many_gpus_page.many_gpus(sharded_step.read_result(), Cluster())
    PAGE.write_text(page_of(curves, end_to_end.read_results(), many_gpus), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
