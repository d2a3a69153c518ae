"""Say in words what is missing from the logs."""

from collections.abc import Iterator, Sequence

import numpy as np

from steadydecay.report.runs import Run
from steadydecay.run_log.missing_steps import in_words, missing_steps

# A log with more gaps than this, and with gaps at more than a tenth of its steps, was not meant to be regular.
MOST_HOLES = 3


def gaps_of(runs: Sequence[Run], undrawn: Sequence[str]) -> list[str]:
    """Return a sentence for each thing that a complete log would have. `undrawn` names panels without any numbers."""
    return [sentence for run in runs for sentence in _gaps(run)] + [
        f"No run logged this: {title}." for title in undrawn
    ]


def _gaps(run: Run) -> Iterator[str]:
    if not run.series:
        yield f"{run.name}: The log contains no step."
    elif run.failure:
        yield f"{run.name}: Training stopped with an error. {run.failure}"
    elif run.steps_done < run.steps_planned:
        yield f"{run.name}: {run.steps_done:,} of {run.steps_planned:,} steps are done; numbers of its end are missing."
    yield from _missing_parts(run)
    yield from _holes(run)
    yield from _faults(run)
    yield from _not_finite(run)


def _missing_parts(run: Run) -> Iterator[str]:
    if not run.configuration:
        yield f"{run.name}: The log has no record of the configuration, so seeds and settings are unknown."
    elif "steps" not in run.configuration:
        yield (
            f"{run.name}: The configuration does not say how many steps were planned, so the last one counts as the "
            "end."
        )
    if len(run.loss) and not len(run.validation_loss):
        yield f"{run.name}: The run was not evaluated on validation data."
    if run.series and not run.of_layers("norm_ratio"):
        yield (
            f"{run.name}: The log has no records of single layers from the monitor, so the heat map and the verdicts "
            "are missing."
        )


def _holes(run: Run) -> Iterator[str]:
    steps = run.logged_steps
    distances, counts = np.unique(np.diff(steps), return_counts=True)
    if len(steps) < 2 or 2 * counts.max() < len(steps):
        return
    missing = missing_steps(steps.tolist(), int(steps[-1]), float(distances[counts.argmax()]))
    if 0 < len(missing) <= max(MOST_HOLES, len(steps) // 10):
        yield f"{run.name}: The log lacks steps {in_words(missing)}. Lines are drawn across the gaps."


def _faults(run: Run) -> Iterator[str]:
    if run.faults.foreign:
        yield f"{run.name}: {run.faults.foreign:,} lines of the log are not records and were left out."
    if run.faults.repeated:
        yield f"{run.name}: {run.faults.repeated:,} records repeat steps that the log already had and were left out."
    if run.faults.is_cut_off:
        yield f"{run.name}: The last line is cut off, because it is being written or its writer was stopped."


def _not_finite(run: Run) -> Iterator[str]:
    for what, series in (("training losses", run.loss), ("validation losses", run.validation_loss)):
        bad = series.where(~np.isfinite(series.values))
        if len(bad):
            first = f"the first at step {bad.steps[0]:,.0f}"
            yield f"{run.name}: {len(bad):,} {what} are not finite, {first}. They are not drawn."
