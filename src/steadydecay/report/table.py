"""The comparison as a table."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence

from rich.table import Table

from steadydecay.experiments.compare import RunSummary
from steadydecay.report.style import title_of

Cell = Callable[[RunSummary], float]
COLUMNS: dict[str, tuple[Cell, str]] = {
    "validation loss": (lambda run: run.val_loss, ".4f"),
    "‖θ‖ max, 2nd half": (lambda run: run.hidden_norm_max, ".2f"),
    "‖θ‖ end": (lambda run: run.hidden_norm_final, ".2f"),
    "‖θ‖ end ÷ max": (lambda run: run.hidden_norm_final / run.hidden_norm_max, ".3f"),
    "‖g‖ middle": (lambda run: run.grad_norm_mid, ".3f"),
    "‖g‖ end": (lambda run: run.grad_norm_final, ".3f"),
    "‖g‖ end ÷ middle": (lambda run: run.grad_norm_final / run.grad_norm_mid, ".3f"),
    "s/step": (lambda run: run.seconds_per_step, ".3f"),
}
HEADER = ("optimizer", "seeds", *COLUMNS)


def summary_rows(summaries: Sequence[RunSummary]) -> list[tuple[str, ...]]:
    """One row of text per optimizer: mean over its seeds, ± sample standard deviation where there are several."""
    by_optimizer: dict[str, list[RunSummary]] = defaultdict(list)
    for summary in summaries:
        by_optimizer[summary.optimizer].append(summary)
    return [_row(optimizer, runs) for optimizer, runs in by_optimizer.items()]


def summary_table(summaries: Sequence[RunSummary]) -> Table:
    """For a terminal, one column per optimizer. ‖θ‖ and ‖g‖ are over all hidden layers."""
    table = Table()
    columns = [HEADER, *summary_rows(summaries)]
    for index, column in enumerate(columns):
        table.add_column(column[0], justify="right" if index else "left", no_wrap=True)
    for cells in zip(*(column[1:] for column in columns), strict=True):
        table.add_row(*cells)
    return table


def _row(optimizer: str, runs: Sequence[RunSummary]) -> tuple[str, ...]:
    cells = (_mean_and_spread([value(run) for run in runs], form) for value, form in COLUMNS.values())
    return (title_of(optimizer), str(len(runs)), *cells)


def _mean_and_spread(values: Sequence[float], form: str) -> str:
    mean = format(statistics.fmean(values), form)
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):{form}}"
