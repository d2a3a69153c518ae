"""Tables of runs: a row for each variant, with the mean and the spread over its seeds."""

from collections.abc import Callable, Mapping, Sequence

from steadydecay.experiments.experiment import Runs
from steadydecay.experiments.run_measures import (
    final_accuracy,
    final_loss,
    gradient_rise,
    mean_and_deviation,
    norm_kept,
)
from steadydecay.report.runs import Run

Measured = Mapping[str, Callable[[Run], float]]
USUAL: Measured = {
    "validation loss": final_loss,
    "‖θ‖, end ÷ middle": norm_kept,
    "‖g‖, end ÷ middle": gradient_rise,
}


def rows_of(runs: Runs, measured: Measured = USUAL) -> list[tuple[str, ...]]:
    """Label, then each number as mean ± sample standard deviation over the seeds."""
    return [
        (label, *(mean_and_deviation([measure(run) for run in of_label]) for measure in measured.values()))
        for label, of_label in runs.items()
    ]


def usual_table(runs: Runs, first: str = "optimizer") -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Columns and rows of loss, norm kept and rise of the gradient norm, and accuracy where there is one."""
    has_accuracy = any(len(run.accuracy) for of_label in runs.values() for run in of_label)
    measured = {"accuracy, %": final_accuracy, **USUAL} if has_accuracy else USUAL
    return (first, *measured), rows_of(runs, measured)
