"""Find the decay with which a run ends at a desired norm, which inverts the forecast."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from steadydecay.forecasting.layer_kinds import LayerKind
from steadydecay.forecasting.trajectories import forecast_norms

# η at the peak. Below the first value, nothing decays in any run; above the second, nothing is left of a weight.
LOWEST, HIGHEST = 1e-15, 1 - 1e-6
# The tolerance of ln ‖θ‖² at the end.
TOLERANCE = 1e-7
MOST_FORECASTS = 60


def with_decay(kind: LayerKind, decay: float) -> LayerKind:
    """Return the kind with η at the peak instead of whatever decay its group asks for."""
    settings = {key: value for key, value in kind.settings.items() if key != "steady_norm_sq"}
    return replace(kind, settings=settings | {"weight_decay": decay / float(settings["lr"])})


def end_decay_for(
    kind: LayerKind, rule: str, shares: Sequence[float], wanted_norm_sq: float, near: float
) -> float | str:
    """Return η at the peak with which a layer ends at the desired ‖θ‖_F², or say in words why there is none.

    Args:
        kind: The kind of layers. Its own decay does not matter.
        rule: A key of `theory.DECAY_RULES`.
        shares: The learning rate of each step as a share of the peak.
        wanted_norm_sq: The desired ‖θ‖_F², > 0.
        near: η in (0, 1) at which the search begins.
    """

    def excess(log_decay: float) -> float:
        norms = forecast_norms(with_decay(kind, math.exp(log_decay)), rule, shares).norms
        return 2 * math.log(norms[-1]) - math.log(wanted_norm_sq) if norms[-1] > 0 else -math.inf

    low, high, wanted_rms = math.log(LOWEST), math.log(HIGHEST), math.sqrt(wanted_norm_sq / kind.entries)
    if (short := excess(low)) < 0:
        return f"even without decay it ends at only {math.exp(short / 2) * wanted_rms:.3g}"
    if (over := excess(high)) > 0:
        return f"the last updates alone lead to {math.exp(over / 2) * wanted_rms:.3g}; lower lr"
    return math.exp(_root_of_falling(excess, low, high, math.log(near)))


def _root_of_falling(function: Callable[[float], float], low: float, high: float, start: float) -> float:
    """Find where a function that falls through 0 between low and high is 0, by secants and, if they leave,
    bisection."""
    # Different kinds of layers have the same root up to rounding. Equal probes let them share their forecasts.
    place = round(min(max(start, low), high), 9)
    before: tuple[float, float] | None = None
    for _ in range(MOST_FORECASTS):
        value = function(place)
        if abs(value) < TOLERANCE:
            break
        low, high = (place, high) if value > 0 else (low, place)
        # Until two points are known, assume that ‖θ‖² is proportional to 1/η, which is a slope of -1.
        slope = -1.0 if before is None or before[1] == value else (value - before[1]) / (place - before[0])
        before = (place, value)
        place = round(place - value / slope, 9) if math.isfinite(value) else low
        if not low < place < high:
            place = round((low + high) / 2, 9)
    return place
