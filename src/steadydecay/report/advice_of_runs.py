"""Pass the numbers of each run to `advice`, and gather the findings over runs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from steadydecay.report import advice
from steadydecay.report.advice import Finding
from steadydecay.report.runs import Run
from steadydecay.report.series import Series, mean, mean_within
from steadydecay.report.summary import end_of, middle_of
from steadydecay.report.variants import Variant

# Steps below this share of the peak learning rate reveal nothing about a rule, because both are 0 there.
LEAST_LR_SHARE = 0.02
# The names under which a configuration may record the dtype of the weights.
DTYPE_SETTINGS = ("weight_dtype", "param_dtype", "torch_dtype", "dtype")


@final
@dataclass(frozen=True)
class Case:
    """A finding in one variant.

    Attributes:
        label: The variant, and the number of its seeds for which the finding holds.
        evidence: The numbers of the first of these seeds.
        remedy: What to do.
    """

    label: str
    evidence: str
    remedy: str


@final
@dataclass(frozen=True)
class Advice:
    """A finding and all variants in which it was made."""

    title: str
    is_fine: bool
    cases: tuple[Case, ...]

    @property
    def remedies(self) -> list[str]:
        return list(dict.fromkeys(case.remedy for case in self.cases))


def advice_for(variants: Sequence[Variant]) -> list[Advice]:
    """Return all findings, each title once, with faults of whole groups first."""
    found: dict[str, tuple[Finding, list[Case]]] = {}
    for variant in variants:
        of_seeds: dict[str, list[tuple[Run, Finding]]] = {}
        for run in variant.runs:
            for finding in findings_of(run):
                of_seeds.setdefault(finding.title, []).append((run, finding))
        for title, pairs in of_seeds.items():
            found.setdefault(title, (pairs[0][1], []))[1].append(_case(variant, pairs))
    ordered = sorted(found.values(), key=lambda one: (one[0].is_fine, one[0].is_of_layers))
    return [Advice(finding.title, finding.is_fine, tuple(cases)) for finding, cases in ordered]


def _case(variant: Variant, pairs: Sequence[tuple[Run, Finding]]) -> Case:
    run, finding = pairs[0]
    of_seeds = f" ({len(pairs)} of {len(variant.runs)} seeds; the numbers are those of {run.name})"
    label = variant.label + (of_seeds if len(variant.runs) > 1 else "")
    return Case(label, finding.evidence, finding.remedy)


def findings_of(run: Run) -> list[Finding]:
    """Return all advice based on one run's numbers."""
    found = [
        advice.not_finite(run.not_finite or _first_fault(run)),
        *_of_roles(run),
        advice.gradient_rise(*_gradients_and_norms(run)),
        _size_of_updates(run),
    ]
    found.append(advice.unsteady_layers(run.verdicts, advice.is_corrected(decay_law(run))))
    return [finding for finding in found if finding is not None]


def _first_fault(run: Run) -> dict[str, Any]:
    """Return `Run.not_finite` or, if the monitor did not report it, the same from the norms of the run's layers."""
    faults = {name: series.where(~np.isfinite(series.values)) for name, series in run.of_layers("weight_norm").items()}
    first = {name: float(series.steps[0]) for name, series in faults.items() if len(series)}
    if not first:
        return {}
    step = min(first.values())
    layers = [name for name, of_layer in first.items() if of_layer == step]
    return {"step": step, "layer": layers[0], "measure": "weight_norm", "layers": len(layers)}


def decay_law(run: Run) -> float:
    """Return p of η ∝ γ^p in the hidden layers, or NaN if the log does not say."""
    return _exponent(run, run.main_role, _decay(run, run.main_role))


def _of_roles(run: Run) -> Iterator[Finding | None]:
    for role in sorted(run.roles(), key=lambda role: role != run.main_role):
        decay = _decay(run, role)
        if not len(decay):
            continue
        yield _steady_state(run, role, decay)
        cosine = mean(run.of_group("update_cosine", role))
        yield advice.correction_of(role, _exponent(run, role, decay), cosine, _norm_kept(run, role))
        yield advice.rounded_away(role, _weight_dtype(run), _is_compensated(run), float(decay.values.max()))


def _decay(run: Run, role: str) -> Series:
    """Return η at the steps where it is in [0, 1)."""
    decay = run.of_role("decay", role)
    return decay.where((decay.values >= 0) & (decay.values < 1))


def _norm_kept(run: Run, role: str) -> float:
    """Return the norm at the end divided by the largest of the second half, or NaN before the end."""
    norm, steps = run.of_role("weight_norm", role).finite(), run.steps_planned
    largest = norm.within(steps / 2, steps).values.max(initial=0.0)
    return norm.last / largest if run.steps_done >= steps and largest > 0 else math.nan


def _steady_state(run: Run, role: str, decay: Series) -> Finding | None:
    peak = decay.steps[decay.values.argmax()]
    lasted = advice.time_constants(decay.steps.tolist(), decay.values.tolist())
    lr = _at(_effective_lr(run, role), peak)
    if not lr > 0 or run.steps_done < run.steps_planned:
        return None
    norm, steady_norm = run.of_role("weight_norm", role).finite().last, _at(_predicted(run, role), peak)
    return advice.never_steady(role, run.steps_done, lasted, lr, float(decay.values.max()), norm, steady_norm)


def _exponent(run: Run, role: str, decay: Series) -> float:
    lr = _effective_lr(run, role)
    _, of_lr, of_decay = np.intersect1d(lr.steps, decay.steps, return_indices=True)
    lrs, decays = lr.values[of_lr], decay.values[of_decay]
    legal = lrs > LEAST_LR_SHARE * lrs.max() if len(lrs) else np.array([], dtype=bool)
    return advice.decay_exponent(lrs[legal].tolist(), decays[legal].tolist())


def _gradients_and_norms(run: Run) -> tuple[float, float, float, float]:
    middle, end = middle_of(run.steps_planned), end_of(run.steps_planned)
    gradients, weights = (run.of_role(measure, run.main_role) for measure in ("gradient_norm", "weight_norm"))
    return (
        mean_within(gradients, *middle),
        mean_within(gradients, *end),
        mean_within(weights, *middle),
        mean_within(weights, *end),
    )


def _size_of_updates(run: Run) -> Finding | None:
    """The two predictions of a steady norm differ only by the size of the update."""
    measured = run.of_layers("predicted_norm_measured")
    assumed = run.of_layers("predicted_norm")
    return advice.update_size(
        {name: _median_ratio(series, assumed[name]) for name, series in measured.items() if name in assumed}
    )


def _median_ratio(upper: Series, lower: Series) -> float:
    """Return the median ratio over the second half of the records, or NaN if none is finite and positive."""
    if len(upper) != len(lower):
        return math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (upper.values / lower.values)[len(upper) // 2 :]
    legal = ratios[np.isfinite(ratios) & (ratios > 0)]
    return float(np.median(legal)) if len(legal) else math.nan


def _effective_lr(run: Run, role: str) -> Series:
    effective = run.of_group("effective_lr", role).finite()
    return effective if len(effective) else run.of_role("lr", role).finite()


def _predicted(run: Run, role: str) -> Series:
    measured = run.of_group("predicted_norm_measured", role).finite()
    return measured if len(measured) else run.of_role("predicted_norm", role).finite()


def _at(series: Series, step: float) -> float:
    """Return the value at the nearest logged step."""
    return float(series.values[np.abs(series.steps - step).argmin()]) if len(series) else math.nan


def _weight_dtype(run: Run) -> str | None:
    for name in DTYPE_SETTINGS:
        if isinstance(value := run.configuration.get(name), str):
            return value.removeprefix("torch.")
    # In our own recipes, `precision` is that of the forward pass (autocast), and weights stay in float32.
    return "float32" if "precision" in run.configuration and "decay_per_step" in run.configuration else None


def _is_compensated(run: Run) -> bool | None:
    mode = run.configuration.get("low_precision")
    return mode != "none" if isinstance(mode, str) else None
