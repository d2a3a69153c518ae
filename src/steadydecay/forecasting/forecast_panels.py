"""What the figures of a forecast show, for any plotting library: a panel for each kind of layers, then the decay."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import final

import numpy as np

from steadydecay.forecasting.kind_forecast import KindForecast
from steadydecay.forecasting.trajectories import Trajectory
from steadydecay.report.style import COLOURS
from steadydecay.theory import DECAY_RULES

# More points per line would only make the file larger.
MOST_POINTS = 500
# The number of panels in a row.
COLUMNS = 3


@final
@dataclass(frozen=True)
class ForecastLine:
    """One line of a panel. `dash` is plotly's name of the dash, or "markers" for points without a line."""

    name: str
    steps: np.ndarray
    values: np.ndarray
    colour: str
    dash: str = "solid"


@final
@dataclass(frozen=True)
class Panel:
    """Lines over steps, from 0 up. `y_label` names the quantity, with its unit if it has one."""

    title: str
    y_label: str
    lines: tuple[ForecastLine, ...]


# Colours 3 to 5, the dots and the long dash are reserved for the other lines.
RULE_COLOURS = (*COLOURS[:3], *COLOURS[6:])
RULE_DASHES = ("solid", "dash", "dashdot", "longdashdot")
# "corrected" comes first, because it is recommended.
RULES_IN_ORDER = sorted(DECAY_RULES, key=lambda rule: rule != "corrected")
LOOK_OF = dict(zip(RULES_IN_ORDER, zip(cycle(RULE_COLOURS), cycle(RULE_DASHES), strict=False), strict=False))


def panels_of(forecasts: Sequence[KindForecast]) -> list[Panel]:
    """Return ‖θ‖ of one layer of each kind, then η of the first kind with more than one rule (or else of the first)."""
    norms = [_norm_panel(forecast) for forecast in forecasts]
    corrected = next((forecast for forecast in forecasts if len(forecast.by_rule) > 1), forecasts[0])
    return [*norms, Panel("decay per step η", "share of the weights η", tuple(map(_decay_line, corrected.by_rule)))]


def _norm_panel(forecast: KindForecast) -> Panel:
    lines = [_norm_line(one, one.rule) for one in forecast.by_rule]
    # Rules that are shown with decays of their own have no common steady state.
    steady = {one.steady_norm for one in forecast.by_rule}
    if len(steady) == 1 and np.isfinite(norm := steady.pop()):
        lines.insert(0, _level("steady state of the peak", norm, forecast, COLOURS[5], "dot"))
    if forecast.wanted_rms is not None:
        norm = forecast.wanted_rms * forecast.kind.entries**0.5
        lines.insert(0, _level("the desired RMS", norm, forecast, COLOURS[4], "dashdot"))
    if forecast.from_updates is not None:
        lines.append(_norm_line(forecast.from_updates, "with measured updates", COLOURS[3], "longdash"))
    if forecast.measured is not None:
        steps, values = _drawn(forecast.measured.steps, forecast.measured.values, most=60)
        lines.append(ForecastLine("measured", steps, values, COLOURS[4], "markers"))
    return Panel(f"{forecast.kind.title}\n{forecast.kind.description}", "weight norm ‖θ‖ of one layer", tuple(lines))


def _level(name: str, norm: float, forecast: KindForecast, colour: str, dash: str) -> ForecastLine:
    ends = np.asarray([0, len(forecast.by_rule[0].decays)])
    return ForecastLine(name, ends, np.full(2, norm), colour, dash)


def _norm_line(trajectory: Trajectory, name: str, colour: str | None = None, dash: str | None = None) -> ForecastLine:
    steps, norms = _drawn(np.arange(len(trajectory.norms)), trajectory.norms)
    rule_colour, rule_dash = LOOK_OF[trajectory.rule]
    return ForecastLine(name, steps, norms, colour or rule_colour, dash or rule_dash)


def _decay_line(trajectory: Trajectory) -> ForecastLine:
    steps, decays = _drawn(np.arange(1, len(trajectory.decays) + 1), trajectory.decays)
    return ForecastLine(trajectory.rule, steps, decays, *LOOK_OF[trajectory.rule])


def _drawn(steps: np.ndarray, values: np.ndarray, most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int))
    return steps[chosen], values[chosen]
