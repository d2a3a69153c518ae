"""docs/benchmarks.md, made of committed results alone."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from steadydecay.bench.result_table import COLUMNS, NONE, cut_of
from steadydecay.bench.results import Result, Row, least_floor, plain_floor, ratio_to_reference
from steadydecay.bench.shape_sets import SHAPE_SETS

INTRODUCTION = """\
# One optimizer step, measured

Written by `python benchmarks/step.py` from `benchmarks/results/step_*.json`, which are written by

```sh
steadydecay bench --set gpt2-small --out benchmarks/results/step_gpt2-small.json
```

All optimizers of a run step in turn in one process, each repetition in another order, on weights of their own and the
same float32 gradients. Five steps of the iteration on every matrix, in every optimizer. Those of Scion's kind take
the sign on embeddings and output, those of Muon's kind AdamW on them and on vectors. Other packages run with their
defaults; `pip install -e '.[bench]'` installs them. A package or a set of shapes more is an entry of `CONTESTANTS` or
`SHAPE_SETS` in `src/steadydecay/bench/`.

- **step**: median in milliseconds, quartiles in brackets. Compare within a run; **÷ scionc** is the median over the
  repetitions of this step ÷ ScionC's in the same one.
- **÷ plain floor**, **÷ least floor**: step ÷ the products of all hidden matrices at the rate of square products in
  the same run, the best over three sizes. Products of the plain form, 5 (4n²m + 2n³); and of the form with the fewest
  that is accurate enough in the dtype. The halves that symmetry makes equal are counted.
- **state, B** and **extra, B**: bytes per parameter, held by the optimizer's state; and the most that a step takes
  above weights, gradients and state, kept buffers included.
- **scionc-shared** is ScionC whose threads share each product of matrices; where it takes another time than ScionC,
  ScionC gives each thread matrices of its own. **scionc-** and the name of a form: ScionC that takes this form for all.
- **polar error**: distance of the direction of an update to the polar factor UVᵀ, in float64, for gradients with
  singular values from 1 to 0.05, and from 1 to 0.001. Each update is also checked to move every parameter and to be
  nearly orthogonal: faults are noted below the table.
- **calls**: of ATen operators in a step.
"""


class Section(NamedTuple):
    """Runs of one set on one device."""

    shape_set: str
    layers: int
    device: str


def page_of(results: Sequence[Result]) -> str:
    """The whole page; sets without a result and GPUs without one are said to be not measured."""
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
    """Of all runs, fastest first; the reference is in each and shown once."""
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
