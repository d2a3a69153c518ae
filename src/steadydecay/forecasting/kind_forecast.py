"""All that is known of a kind of layers: its trajectory under each rule, what was measured, and what is suggested."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from steadydecay.forecasting.layer_kinds import LayerKind
from steadydecay.forecasting.suggestion import Suggestion, suggestion_for
from steadydecay.forecasting.trained_run import Measured, TrainedRun
from steadydecay.forecasting.trajectories import SETTLED_AFTER, Trajectory, forecast_norms, norms_from_updates

RULES = ("constant", "corrected")


@final
@dataclass(frozen=True)
class KindForecast:
    """Norms are of one layer of the kind.

    Attributes:
        by_rule: one trajectory for each decay rule; one in all for output layers, which stay "constant".
        measured: of a run that was trained.
        from_updates: under the run's own rule, with the update norms that it measured.
        suggestion: for a wanted RMS.
        is_unreachable: an RMS was wanted that one update alone exceeds.
    """

    kind: LayerKind
    by_rule: tuple[Trajectory, ...]
    measured: Measured | None = None
    from_updates: Trajectory | None = None
    suggestion: Suggestion | None = None
    is_unreachable: bool = False


def forecast_kinds(
    kinds: Iterable[LayerKind],
    shares: Sequence[float],
    *,
    run: TrainedRun | None = None,
    wanted_rms: float | None = None,
) -> list[KindForecast]:
    """A forecast for each kind.

    Args:
        kinds: of layers.
        shares: lr of each step as a share of the peak.
        run: whose measurements stand beside it.
        wanted_rms: > 0, to suggest a decay for.

    Raises:
        ValueError: settings or wanted_rms outside their range.
    """
    return [_forecast_of(kind, shares, run, wanted_rms) for kind in kinds]


def advice(forecasts: Sequence[KindForecast]) -> list[str]:
    """A sentence on all kinds that never get near a steady state, for each reason; none where all do."""
    titles: dict[str, list[str]] = defaultdict(list)
    for forecast in forecasts:
        if (reason := _reason_against_steady_state(forecast.by_rule[0])) is not None:
            titles[reason].append(forecast.kind.title)
    are_all = {reason: len(named) == len(forecasts) > 1 for reason, named in titles.items()}
    return [f"{'all layers' if are_all[one] else ', '.join(named)}: {one}" for one, named in titles.items()]


def _reason_against_steady_state(trajectory: Trajectory) -> str | None:
    if math.isinf(trajectory.steady_norm):
        return "no decay, so no steady state: the norm grows to the end."
    if trajectory.settled_step is not None:
        return None
    memories, longer = trajectory.memories, SETTLED_AFTER / trajectory.memories
    return (
        f"the run is {memories:.2g} time constants 1/(2η) long and ends before its steady state, which takes "
        f"{SETTLED_AFTER:g}: {longer:.2g} times the steps or the decay."
    )


def _forecast_of(
    kind: LayerKind, shares: Sequence[float], run: TrainedRun | None, wanted_rms: float | None
) -> KindForecast:
    rules = dict.fromkeys((*RULES, kind.own_rule))
    by_rule = {one.rule: one for one in (forecast_norms(kind, rule, shares) for rule in rules)}
    suggestion = None if wanted_rms is None else suggestion_for(kind, wanted_rms)
    update_norm = None if run is None else run.update_norm(kind, shares)
    steps = np.arange(1, len(shares) + 1)
    return KindForecast(
        kind=kind,
        by_rule=tuple(by_rule.values()),
        measured=None if run is None else run.weight_norm(kind),
        from_updates=update_norm and norms_from_updates(kind, kind.own_rule, shares, update_norm.at(steps)),
        suggestion=suggestion,
        is_unreachable=wanted_rms is not None and suggestion is None,
    )
