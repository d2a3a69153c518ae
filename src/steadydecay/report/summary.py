"""Summarise a run in a line of numbers, whatever its log lacks."""

import math
import statistics
from dataclasses import dataclass
from typing import Any, final

from steadydecay.report.runs import Run
from steadydecay.report.series import EMPTY, Series, mean
from steadydecay.run_log.record import logged_number

# The shares of a run's steps over which gradient norms are averaged, around its middle and at its end.
MIDDLE_SHARE = 0.10
FINAL_SHARE = 0.05


@final
@dataclass(frozen=True)
class RunSummary:
    """One run in a line. Norms are Frobenius norms over all parameters with the role "hidden".

    Attributes:
        val_loss: The validation loss at the last step, in nats.
        hidden_norm_max: The largest weight norm in the second half of the run.
        hidden_norm_final: The weight norm after the last step.
        grad_norm_mid: The mean gradient norm over 10 % of the steps, around the middle.
        grad_norm_final: The mean gradient norm over the last 5 % of the steps.
        seconds_per_step: The median time, without evaluations and checkpoints.
        top1: The share of validation images that are classified correctly at the last step, or None for models that do
            not classify.
        item: The unit in which training is counted, such as "tokens" or "images", or None if the log does not say.
        items_per_second: The number of items per step divided by `seconds_per_step`, or None without `item` or timed
            steps.
    """

    optimizer: str
    seed: int
    steps: int
    val_loss: float
    hidden_norm_max: float
    hidden_norm_final: float
    grad_norm_mid: float
    grad_norm_final: float
    seconds_per_step: float
    top1: float | None = None
    item: str | None = None
    items_per_second: float | None = None


def summary_of(run: Run, *, last_step_fills_in: bool = False) -> RunSummary:
    """Summarise a run, with NaN for what its log lacks. Shares refer to the planned steps.

    Args:
        run: The run. Without the role "hidden", its first role is used.
        last_step_fills_in: Use the last step for a share in which no step was logged, as in a run of few steps.
            Otherwise such a share is NaN, so that an interrupted run has no gradient norm of its end.
    """
    steps = run.steps_planned
    weights = run.of_role("weight_norm", run.main_role)
    gradients = run.of_role("gradient_norm", run.main_role)
    second_half = _share(weights, (steps / 2, steps), last_step_fills_in)
    seconds = run.series.get(("step", "seconds", ""), EMPTY).finite().values.tolist()
    seconds_per_step = statistics.median(seconds) if seconds else math.nan
    item, items_per_step = run.configuration.get("item"), logged_number(run.configuration.get("items_per_step"))
    if not isinstance(item, str) or items_per_step is None or not seconds_per_step > 0:
        item = items_per_step = None
    return RunSummary(
        optimizer=run.optimizer,
        seed=_seed(run.configuration.get("seed")),
        steps=steps,
        val_loss=run.validation_loss.last,
        hidden_norm_max=max(second_half.values.tolist(), default=math.nan),
        hidden_norm_final=weights.last,
        grad_norm_mid=mean(_share(gradients, middle_of(steps), last_step_fills_in)),
        grad_norm_final=mean(_share(gradients, end_of(steps), last_step_fills_in)),
        seconds_per_step=seconds_per_step,
        top1=run.accuracy.last if len(run.accuracy) else None,
        item=item,
        items_per_second=None if items_per_step is None else items_per_step / seconds_per_step,
    )


def middle_of(steps: int) -> tuple[float, float]:
    """Return the range (after, until] of steps in the middle of a run."""
    return 0.5 * (1 - MIDDLE_SHARE) * steps, 0.5 * (1 + MIDDLE_SHARE) * steps


def end_of(steps: int) -> tuple[float, float]:
    """Return the range (after, until] of the last steps of a run."""
    return (1 - FINAL_SHARE) * steps, steps


def _share(series: Series, steps: tuple[float, float], last_step_fills_in: bool) -> Series:
    found = series.within(*steps).finite()
    return Series(series.steps[-1:], series.values[-1:]) if last_step_fills_in and not len(found) else found


def _seed(value: Any) -> int:
    # Not through a float, which cannot hold a seed of 64 bits.
    if type(value) is int:
        return value
    seed = logged_number(value)
    return int(seed) if seed is not None and math.isfinite(seed) else 0
