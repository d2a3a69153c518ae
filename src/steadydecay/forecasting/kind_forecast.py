"""Everything known about a kind of layers: its trajectory under each rule, measurements, and suggestions."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from steadydecay.forecasting.end_decay import with_decay
from steadydecay.forecasting.layer_kinds import LayerKind
from steadydecay.forecasting.suggestion import Suggestion, end_suggestion_for, require_wanted, suggestion_for
from steadydecay.forecasting.trained_run import Measured, TrainedRun
from steadydecay.forecasting.trajectories import (
    SETTLED_AFTER,
    Trajectory,
    forecast_norms,
    norms_from_updates,
    settings_under,
)

RULES = ("constant", "corrected")


@final
@dataclass(frozen=True)
class KindForecast:
    """The forecast of one kind. Norms are those of one layer.

    Attributes:
        by_rule: One trajectory for each decay rule; only one for output layers, which stay "constant".
        measured: The norms of a trained run.
        from_updates: The trajectory under the run's own rule with the update norms that it measured.
        wanted_rms: The RMS that the suggestions are for. None if none was asked for, and for gains and biases, whose
            size no decay should determine.
        suggestion: For the desired RMS at the steady state of the peak. None if one update alone exceeds it.
        at_end: By decay rule, for the desired RMS after the last step, or the reason why no decay leads to it.
    """

    kind: LayerKind
    by_rule: tuple[Trajectory, ...]
    measured: Measured | None = None
    from_updates: Trajectory | None = None
    wanted_rms: float | None = None
    suggestion: Suggestion | None = None
    at_end: Mapping[str, Suggestion | str] = field(default_factory=dict)


def forecast_kinds(
    kinds: Iterable[LayerKind],
    shares: Sequence[float],
    *,
    run: TrainedRun | None = None,
    wanted_rms: float | None = None,
    is_decay_open: bool = False,
) -> list[KindForecast]:
    """Return a forecast for each kind.

    Args:
        kinds: The kinds of layers.
        shares: The learning rate of each step as a share of the peak.
        run: A run whose measurements are shown beside the forecast.
        wanted_rms: An RMS to suggest a decay for, > 0.
        is_decay_open: Whether the kinds have no decay yet, so that each rule is shown with the one that ends at
            `wanted_rms`.

    Raises:
        ValueError: Settings or wanted_rms are outside their range.
    """
    if wanted_rms is not None:
        require_wanted(wanted_rms)
    return [_forecast_of(kind, shares, run, wanted_rms, is_decay_open) for kind in kinds]


def advice(forecasts: Sequence[KindForecast]) -> list[str]:
    """Return a sentence, for each reason, about all kinds that never come near a steady state."""
    titles: dict[str, list[str]] = defaultdict(list)
    for forecast in forecasts:
        if (reason := _reason_against_steady_state(forecast.by_rule[0])) is not None:
            titles[reason].append(forecast.kind.title)
    are_all = {reason: len(named) == len(forecasts) > 1 for reason, named in titles.items()}
    return [f"{'All layers' if are_all[one] else ', '.join(named)}: {one}" for one, named in titles.items()]


def unreached(forecasts: Sequence[KindForecast]) -> list[str]:
    """Return a sentence about each kind that no decay brings to the desired RMS, or that needs no suggestion."""
    rules: dict[tuple[str, float, str], list[str]] = defaultdict(list)
    for forecast in forecasts:
        if forecast.wanted_rms is not None and forecast.suggestion is None:
            rules[forecast.kind.title, forecast.wanted_rms, "a single update is larger; lower lr"].append("steady")
        for rule, reason in forecast.at_end.items():
            if isinstance(reason, str) and forecast.wanted_rms is not None:
                rules[forecast.kind.title, forecast.wanted_rms, reason].append(rule)
    said = [
        f"{title}: No {' or '.join(named)} decay leads to an RMS of {wanted:g}, because {reason}."
        for (title, wanted, reason), named in rules.items()
    ]
    is_asked = any(forecast.wanted_rms is not None for forecast in forecasts)
    gains = [forecast.kind.title for forecast in forecasts if is_asked and forecast.wanted_rms is None]
    return [*said, f"{', '.join(gains)}: No decay is suggested for gains and biases."] if gains else said


def _reason_against_steady_state(trajectory: Trajectory) -> str | None:
    if math.isinf(trajectory.steady_norm):
        return "There is no decay and so no steady state, and the norm grows until the end."
    if trajectory.settled_step is not None:
        return None
    memories, longer = trajectory.memories, SETTLED_AFTER / trajectory.memories
    return (
        f"The run is {memories:.2g} time constants 1/(2η) long, and ends before its steady state, which takes "
        f"{SETTLED_AFTER:g}. It would need {longer:.2g} times the steps or the decay."
    )


def _forecast_of(
    kind: LayerKind, shares: Sequence[float], run: TrainedRun | None, wanted_rms: float | None, is_decay_open: bool
) -> KindForecast:
    wanted_rms = None if kind.settings["role"] == "vector" else wanted_rms
    rules = _rules_of(kind)
    suggestion = None if wanted_rms is None else suggestion_for(kind, wanted_rms)
    at_end = (
        {}
        if wanted_rms is None
        else {rule: end_suggestion_for(kind, rule, shares, wanted_rms, suggestion) for rule in rules}
    )
    shown = {rule: _decayed(kind, at_end.get(rule)) if is_decay_open else kind for rule in rules}
    update_norm = None if run is None else run.update_norm(kind, shares)
    steps = np.arange(1, len(shares) + 1)
    return KindForecast(
        kind=kind,
        by_rule=tuple(forecast_norms(shown[rule], rule, shares) for rule in rules),
        measured=None if run is None else run.weight_norm(kind),
        from_updates=update_norm and norms_from_updates(kind, kind.own_rule, shares, update_norm.at(steps)),
        wanted_rms=wanted_rms,
        suggestion=suggestion,
        at_end=at_end,
    )


def _rules_of(kind: LayerKind) -> list[str]:
    """Return the rules that act differently on a kind. Output layers stay "constant" under all of them."""
    applied = (settings_under(rule, kind)["decay"] for rule in (*RULES, kind.own_rule))
    return list(dict.fromkeys(applied))


def _decayed(kind: LayerKind, suggestion: Suggestion | str | None) -> LayerKind:
    return with_decay(kind, suggestion.decay) if isinstance(suggestion, Suggestion) else kind
