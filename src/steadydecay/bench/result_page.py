"""Write docs/benchmarks.md from committed results alone."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from steadydecay.bench.result_table import COLUMNS, NONE, cut_of
from steadydecay.bench.results import Result, Row, least_floor, plain_floor, ratio_to_reference
from steadydecay.bench.shape_sets import SHAPE_SETS

INTRODUCTION = """\
# One optimizer step, measured

This page compares the time, memory and accuracy of one step of each optimizer, ours and those of other packages. It is
written by `python benchmarks/step.py` from `benchmarks/results/step_*.json`. You can repeat a measurement with

```sh
steadydecay bench --set gpt2-small --out benchmarks/results/step_gpt2-small.json
```

All optimizers of a run take their steps in turn in one process, in a different order in each repetition, on weights of
their own and the same float32 gradients. Every optimizer takes five steps of the iteration on every matrix. Optimizers
of Scion's kind take the sign on embeddings and output, and those of Muon's kind use AdamW for them and for vectors.
Other packages run with their defaults; `pip install -e '.[bench]'` installs them. To add a package or a set of shapes,
add an entry to `CONTESTANTS` or `SHAPE_SETS` in `src/steadydecay/bench/`.

- **step**: the median in milliseconds, with quartiles in brackets. Compare times only within one run. **÷ scionc** is
  the median over the repetitions of this step divided by ScionC's step in the same repetition.
- **÷ plain floor**, **÷ least floor**: the time of the step divided by the time that the products of all hidden
  matrices would take at the rate of square products in the same run, the best over three sizes. The plain floor counts
  the products of the plain form, 5 (4n²m + 2n³). The least floor counts those of the form with the fewest products that
  is accurate enough in the dtype. Both count the halves that are equal by symmetry.
- **state, B** and **extra, B**: bytes per parameter. The first is held by the optimizer's state. The second is the most
  that a step needs in addition to weights, gradients and state, including buffers that it keeps.
- **scionc-shared** is ScionC whose threads share each product of matrices. Where its time differs from that of ScionC,
  ScionC gives each thread matrices of its own. **scionc-** followed by the name of a form is ScionC that uses this form
  for all matrices.
- **polar error**: the distance between the direction of an update and the polar factor UVᵀ, in float64, for gradients
  with singular values from 1 to 0.05 and from 1 to 0.001. Each update is also checked to move every parameter and to be
  nearly orthogonal; faults are noted below the table.
- **calls**: the number of calls of ATen operators in a step.
"""


class Section(NamedTuple):
    """The runs of one set on one device."""

    shape_set: str
    layers: int
    device: str


def page_of(results: Sequence[Result]) -> str:
    """Return the whole page, which says which sets have no result, and that there is no GPU result if so."""
    sections: dict[Section, list[Result]] = defaultdict(list)
    for result in results:
        sections[Section(result.shape_set, result.layers, result.device["name"])].append(result)
    order = list(SHAPE_SETS)
    ordered = sorted(sections, key=lambda section: (order.index(section.shape_set), section))
    parts = [INTRODUCTION, *(_section(sections[section]) for section in ordered)]
    return "\n".join([*parts, _not_measured(results)])


def _section(results: Sequence[Result]) -> str:
    first = results[0]
    matrices = f"{first.parameters / 1e6:.1f} million parameters, {first.plain_work / 1e9:.0f} GFLOP in the plain form"
    least = ", ".join(f"{work / 1e9:.0f} at least in {dtype}" for dtype, work in first.least_work.items())
    lines = [
        f"## {first.shape_set}{cut_of(first)}, {first.place}",
        "",
        f"{matrices}, {least}.",
        "",
        *(f"- {_run(result)}" for result in results),
        "",
        "| optimizer | " + " | ".join(COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
        *(_line(row, result) for row, result in _rows(results)),
        "",
        *_notes(results),
    ]
    return "\n".join(lines)


def _run(result: Result) -> str:
    rates = ", ".join(f"{median(rates) / 1e9:.0f} in {dtype}" for dtype, rates in result.rates.items())
    floors = f"{1000 * plain_floor(result):.0f} and {1000 * least_floor(result):.0f} ms"
    return f"`{result.command}`, {result.date}: {rates} GFLOP/s, floors {floors}; {result.software}."


def _rows(results: Sequence[Result]) -> list[tuple[Row, Result]]:
    """Return the rows of all runs, fastest first. The reference is part of each run and is shown once."""
    rows = {row.name: (row, result) for result in reversed(results) for row in result.rows}
    return sorted(rows.values(), key=lambda pair: ratio_to_reference(pair[0]))


def _line(row: Row, result: Result) -> str:
    cells = [cell(row, result) for cell in COLUMNS.values()]
    return f"| {row.name} | " + " | ".join(cells) + " |"


def _notes(results: Sequence[Result]) -> list[str]:
    measured = {row.name for result in results for row in result.rows}
    faults = {f"- {row.name}: {fault}." for row, _ in _rows(results) for fault in row.faults}
    missing = {name: error for result in results for name, error in result.missing.items() if name not in measured}
    return [*sorted(faults), *(f"- {name} is not measured: {error}." for name, error in sorted(missing.items())), ""]


def _not_measured(results: Sequence[Result]) -> str:
    measured = {result.shape_set for result in results}
    lines = [f"`{name}`" for name in SHAPE_SETS if name not in measured]
    if not any(result.device["type"] == "cuda" for result in results):
        lines.append("any GPU")
    return f"## Not measured\n\n{', '.join(lines) if lines else NONE}\n"
