"""A run in a line of numbers, whatever its log lacks."""

import numpy as np

from steadydecay.experiments.compare import FINAL_SHARE, RunSummary, middle_of
from steadydecay.report.runs import Run
from steadydecay.report.series import EMPTY, Series, mean_within
from steadydecay.run_log.log import NON_FINITE
from steadydecay.run_log.records import number

NAN = NON_FINITE["NaN"]


def summary_of(run: Run) -> RunSummary:
    """As `experiments.compare.summarize`, with NaN where the log does not say.

    Shares are of the planned steps, so that a run cut short has no gradient norm of its end.
    """
    steps = run.steps_planned
    weights = run.of_role("weight_norm", run.main_role)
    gradients = run.of_role("gradient_norm", run.main_role)
    seconds = run.series.get(("step", "seconds", ""), EMPTY).finite()
    seed = number(run.configuration.get("seed"))
    return RunSummary(
        optimizer=run.optimizer,
        seed=int(seed) if seed is not None and np.isfinite(seed) else 0,
        steps=steps,
        val_loss=run.validation_loss.last,
        hidden_norm_max=_largest(weights.within(steps / 2, steps)),
        hidden_norm_final=weights.last,
        grad_norm_mid=mean_within(gradients, *middle_of(steps)),
        grad_norm_final=mean_within(gradients, (1 - FINAL_SHARE) * steps, steps),
        seconds_per_step=float(np.median(seconds.values)) if len(seconds) else NAN,
    )


def _largest(series: Series) -> float:
    values = series.finite().values
    return float(values.max()) if len(values) else NAN
