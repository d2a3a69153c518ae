"""Say which run is better and why, in a short paragraph based only on numbers."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from steadydecay.report.advice_of_runs import decay_law
from steadydecay.report.clear_difference import is_clear, standard_error
from steadydecay.report.runs import Run
from steadydecay.report.series import mean_within
from steadydecay.report.summary import summary_of
from steadydecay.report.variants import NOT_SETTINGS, Variant, differing_settings

# Further rivals appear only in the table.
MOST_RIVALS = 3
# The share of the steps, at the end, over which rotations are compared.
LATE_SHARE = 0.2


@final
@dataclass(frozen=True)
class Losses:
    """The validation losses of a variant's seeds at one step. Lower is better."""

    variant: Variant
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def error(self) -> float:
        """The standard error of the mean, or NaN for one seed."""
        return standard_error(self.values)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{self.mean:.4f}"
        return f"{self.mean:.4f} ± {statistics.stdev(self.values):.4f} over {len(self.values)} seeds"


@final
@dataclass(frozen=True)
class Conclusion:
    """Sentences that say which variant has the lowest loss and by how much, and what in the logs goes with it, or
    ""."""

    ranking: str
    reasons: str


def conclusion(variants: Sequence[Variant]) -> Conclusion:
    """Draw the conclusion from the validation losses at the last step at which variants can be compared."""
    step = comparable_step(variants)
    ranked = sorted((losses for one in variants if (losses := losses_at(one, step))), key=lambda one: one.mean)
    if not ranked:
        return Conclusion(
            "No step was evaluated in all runs that are to be compared, so the logs do not say which is better.", ""
        )
    left_out = _left_out(variants, ranked)
    best, rivals = ranked[0], ranked[1 : 1 + MOST_RIVALS]
    if not rivals:
        alone = f"{best.variant.label} has a validation loss of {best} at step {step:,.0f}. No other run was evaluated."
        return Conclusion(" ".join([alone, *left_out]), "")
    ranking = [f"{best.variant.label} has the lowest validation loss at step {step:,.0f} (lower is better): {best}."]
    ranking += [_distance(best, rival) for rival in rivals]
    if any(math.isnan(one.error) for one in (best, *rivals)):
        ranking.append("A difference between single seeds may be chance; repeat the runs with --seed 0 1 2.")
    ranking += _accuracies([one.variant for one in ranked], step)
    reasons = _reasons([best.variant, *(rival.variant for rival in rivals)])
    return Conclusion(" ".join([*ranking, *left_out]), " ".join(reasons))


def comparable_step(variants: Sequence[Variant]) -> float:
    """Return the last step at which all finished runs were evaluated, or NaN if there is none.

    While fewer than two variants are finished, all runs count.
    """
    evaluated = [[run for run in variant.runs if len(run.validation_loss.finite())] for variant in variants]
    finished = [
        [run for run in runs if run.validation_loss.finite().steps[-1] >= run.steps_planned] for runs in evaluated
    ]
    chosen = finished if sum(map(bool, finished)) > 1 else evaluated
    steps = [set(run.validation_loss.finite().steps.tolist()) for runs in chosen for run in runs]
    return max(set.intersection(*steps), default=math.nan) if steps else math.nan


def losses_at(variant: Variant, step: float) -> Losses | None:
    """Return the losses of the seeds that were evaluated at `step`."""
    at_step = [run.validation_loss.finite().within(step - 0.5, step).values.tolist() for run in variant.runs]
    values = tuple(value for values in at_step for value in values)
    return Losses(variant, values) if values else None


def _accuracies(variants: Sequence[Variant], step: float) -> list[str]:
    """Return a sentence with the accuracy of each variant, best first, or nothing if no model classifies."""
    found = {
        one.label: statistics.fmean(values)
        for one in variants
        if (values := [v for run in one.runs for v in run.accuracy.finite().within(step - 0.5, step).values.tolist()])
    }
    shares = [f"{label} {share:.2%}" for label, share in sorted(found.items(), key=lambda pair: -pair[1])]
    return [f"The accuracy at that step (higher is better) is {', '.join(shares)}."] if shares else []


def _distance(best: Losses, rival: Losses) -> str:
    difference = rival.mean - best.mean
    text = f"{rival.variant.label} has {rival}, which is {difference:.4f} more"
    clear = is_clear(best.values, rival.values)
    if clear is None:
        return f"{text}."
    verdict = "a clear difference" if clear else "which these seeds do not settle"
    return f"{text}: {difference / math.hypot(best.error, rival.error):.1f} standard errors, {verdict}."


def _reasons(ranked: Sequence[Variant]) -> list[str]:
    """Describe the first two variants that differ in one setting, and name those that differ from the best in more."""
    pairs = [(one, other) for index, one in enumerate(ranked) for other in ranked[index + 1 :]]
    alike = [pair for pair in pairs if _differences(*pair) == ["optimizer"]]
    others = [one for one in ranked[1:] if _differences(ranked[0], one) not in (["optimizer"], [])]
    sentences = [_reason(*alike[0])] if alike else []
    if others:
        names = dict.fromkeys(name for one in others for name in _differences(ranked[0], one) if name != "optimizer")
        labels = " and ".join(one.label for one in others)
        sentences.append(
            f"{labels} also differ{'s' if len(others) == 1 else ''} from {ranked[0].label} in {', '.join(names)},"
            " so the logs do not say which setting makes the difference."
        )
    return sentences


def _differences(one: Variant, other: Variant) -> list[str]:
    return [name for name in differing_settings([one.runs[0], other.runs[0]]) if name not in NOT_SETTINGS]


def _reason(one: Variant, other: Variant) -> str:
    pairs = [(text, _mean(one, read), _mean(other, read)) for text, read in _CAUSES]
    known = [text.format(ours, theirs) for text, ours, theirs in pairs if math.isfinite(ours + theirs)]
    start = f"{one.label} and {other.label} differ only in the optimizer"
    return f"{start}. Comparing {one.label} with {other.label}, {'; '.join(known)}." if known else f"{start}."


def _norm_kept(run: Run) -> float:
    summary = summary_of(run)
    return 100 * summary.hidden_norm_final / (summary.hidden_norm_max or math.nan)


def _gradient_change(run: Run) -> float:
    summary = summary_of(run)
    return summary.grad_norm_final / (summary.grad_norm_mid or math.nan)


def _late_rotation(run: Run) -> float:
    steps = run.steps_planned
    return mean_within(run.of_group("rotation", run.main_role), (1 - LATE_SHARE) * steps, steps)


_CAUSES: tuple[tuple[str, Callable[[Run], float]], ...] = (
    ("the decay follows the learning rate to the power {:.1f} against {:.1f}", decay_law),
    ("the weight norm ends at {:.0f} % against {:.0f} % of its largest value in the second half", _norm_kept),
    ("from middle to end, the gradient norm changes by a factor of {:.2f} against {:.2f}", _gradient_change),
    ("in the last fifth, each step rotates the weights by {:.2g} against {:.2g} radians", _late_rotation),
)


def _mean(variant: Variant, read: Callable[[Run], float]) -> float:
    """Return the mean over the seeds whose logs have the number, or NaN if none has."""
    known = [value for run in variant.runs if math.isfinite(value := read(run))]
    return statistics.fmean(known) if known else math.nan


def _left_out(variants: Sequence[Variant], ranked: Sequence[Losses]) -> list[str]:
    compared = {losses.variant.label for losses in ranked}
    others = [variant for variant in variants if variant.label not in compared]
    progress = [f"{one.label} (step {one.runs[0].steps_done:,} of {one.runs[0].steps_planned:,})" for one in others]
    return [f"Not compared, because they were not evaluated at that step: {', '.join(progress)}."] if others else []
