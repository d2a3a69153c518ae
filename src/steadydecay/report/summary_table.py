"""The comparison of runs as a table."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from steadydecay.report.style import title_of
from steadydecay.report.summary import RunSummary

Column = tuple[Callable[[RunSummary], float], str]
ACCURACY = "accuracy"
COLUMNS: dict[str, Column] = {
    "validation loss": (lambda run: run.val_loss, ".4f"),
    ACCURACY: (lambda run: math.nan if run.top1 is None else run.top1, ".2%"),
    "‖θ‖ max, 2nd half": (lambda run: run.hidden_norm_max, ".2f"),
    "‖θ‖ end": (lambda run: run.hidden_norm_final, ".2f"),
    "‖θ‖ end ÷ max": (lambda run: _ratio(run.hidden_norm_final, run.hidden_norm_max), ".3f"),
    "‖g‖ mid": (lambda run: run.grad_norm_mid, ".3f"),
    "‖g‖ end": (lambda run: run.grad_norm_final, ".3f"),
    "‖g‖ end ÷ mid": (lambda run: _ratio(run.grad_norm_final, run.grad_norm_mid), ".3f"),
    "s/step": (lambda run: run.seconds_per_step, ".3f"),
}
SPEED: Column = (lambda run: math.nan if run.items_per_second is None else run.items_per_second, ",.1f")
# The number of optimizers whose columns fit into a terminal of 80 characters.
MOST_COLUMNS = 3
MOST_CHARACTERS = 1_000


def columns_of(summaries: Iterable[RunSummary]) -> dict[str, Column]:
    """Return the columns for which there are numbers, such as accuracy if a model classifies.

    The speed is in items (tokens, images) per second if all runs count the same kind of item.
    """
    summaries = list(summaries)
    has_accuracy = any(summary.top1 is not None for summary in summaries)
    items = {summary.item for summary in summaries}
    speed = {f"{item}/s": SPEED for item in items if item is not None and len(items) == 1}
    return {name: column for name, column in COLUMNS.items() if has_accuracy or name != ACCURACY} | speed


def summary_rows(summaries: Sequence[RunSummary]) -> list[tuple[str, ...]]:
    """Return one row of text per optimizer: the mean over its seeds, ± the sample standard deviation if there are
    several."""
    columns = columns_of(summaries)
    by_optimizer: dict[str, list[RunSummary]] = defaultdict(list)
    for summary in summaries:
        by_optimizer[summary.optimizer].append(summary)
    return [summary_row(title_of(optimizer), runs, columns) for optimizer, runs in by_optimizer.items()]


def summary_table(summaries: Sequence[RunSummary]) -> Table:
    """Make a table for a terminal, with a column per optimizer, or a row if there are many. Norms are over hidden
    layers."""
    lines = [("optimizer", "seeds", *columns_of(summaries)), *summary_rows(summaries)]
    is_upright = len(lines) - 1 <= MOST_COLUMNS
    if is_upright:
        lines = list(zip(*lines, strict=True))
    table = Table() if is_upright else Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for index, cells in enumerate(zip(*lines, strict=True)):
        # Headers may break between words, but numbers never.
        width = max(map(len, [*cells[1:], *cells[0].split()]))
        table.add_column(cells[0], justify="right" if index else "left", width=width)
    for line in lines[1:]:
        table.add_row(*line)
    return table


def wide_enough(table: Table) -> Console:
    """Return a console in which no number of the table is cut short. On a narrower terminal its lines wrap."""
    endless = Console(width=MOST_CHARACTERS)
    return Console(width=max(Console().width, Measurement.get(endless, endless.options, table).maximum))


def summary_row(label: str, runs: Sequence[RunSummary], columns: Mapping[str, Column]) -> tuple[str, ...]:
    """Return label, number of seeds and a cell for each of `columns_of`, or "–" if some run's log lacks it (NaN)."""
    cells = (_mean_and_spread([value(run) for run in runs], form) for value, form in columns.values())
    return (label, str(len(runs)), *cells)


def _ratio(upper: float, lower: float) -> float:
    return upper / lower if lower else math.nan


def _mean_and_spread(values: Sequence[float], form: str) -> str:
    if not all(map(math.isfinite, values)):
        return "–"
    mean = format(statistics.fmean(values), form)
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):{form}}"
