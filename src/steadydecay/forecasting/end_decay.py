"""The decay with which a run ends at a wanted norm: the inverse of the forecast."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from steadydecay.forecasting.layer_kinds import LayerKind
from steadydecay.forecasting.trajectories import forecast_norms

# η at the peak; below the first, nothing decays in any run, and above the second nothing is left of a weight.
LOWEST, HIGHEST = 1e-15, 1 - 1e-6
# Of ln ‖θ‖² at the end.
TOLERANCE = 1e-7
MOST_FORECASTS = 60


def with_decay(kind: LayerKind, decay: float) -> LayerKind:
    """The kind with η at the peak in place of whatever decay its group asks for."""
    settings = {key: value for key, value in kind.settings.items() if key != "steady_norm_sq"}
    return replace(kind, settings=settings | {"weight_decay": decay / float(settings["lr"])})


def end_decay_for(
    kind: LayerKind, rule: str, shares: Sequence[float], wanted_norm_sq: float, near: float
) -> float | str:
    """η at the peak with which ‖θ‖_F² of a layer ends at the wanted one, or why there is none, in words.

    Args:
        kind: of layers; its own decay does not matter.
        rule: a key of `theory.DECAY_RULES`.
        shares: lr of each step as a share of the peak.
        wanted_norm_sq: > 0.
        near: η in (0, 1) at which the search begins.
    """

    def excess(log_decay: float) -> float:
        norms = forecast_norms(with_decay(kind, math.exp(log_decay)), rule, shares).norms
        return 2 * math.log(norms[-1]) - math.log(wanted_norm_sq) if norms[-1] > 0 else -math.inf

    low, high, wanted_rms = math.log(LOWEST), math.log(HIGHEST), math.sqrt(wanted_norm_sq / kind.entries)
    if (short := excess(low)) < 0:
        return f"without any decay it is {math.exp(short / 2) * wanted_rms:.3g}"
    if (over := excess(high)) > 0:
        return f"the last updates alone make {math.exp(over / 2) * wanted_rms:.3g}; lower lr"
    return math.exp(_root_of_falling(excess, low, high, math.log(near)))


def _root_of_falling(function: Callable[[float], float], low: float, high: float, start: float) -> float:
    """Where a function that falls through 0 between low and high is 0: by secants, and halves where they lead out."""
    # Layers of many kinds have one root but for rounding; equal places let them share their forecasts.
    place = round(min(max(start, low), high), 9)
    before: tuple[float, float] | None = None
    for _ in range(MOST_FORECASTS):
        value = function(place)
        if abs(value) < TOLERANCE:
            break
        low, high = (place, high) if value > 0 else (low, place)
        # ‖θ‖² is about as 1/η, a slope of -1, until two places are known.
        slope = -1.0 if before is None or before[1] == value else (value - before[1]) / (place - before[0])
        before = (place, value)
        place = round(place - value / slope, 9) if math.isfinite(value) else low
        if not low < place < high:
            place = round((low + high) / 2, 9)
    return place
