"""Show a forecast on a terminal."""

import math
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from rich.table import Table

from steadydecay.forecasting.kind_forecast import KindForecast
from steadydecay.forecasting.suggestion import Suggestion
from steadydecay.forecasting.trajectories import Trajectory

POINTS = {"start": 0.0, "middle": 0.5, "90 %": 0.9, "end": 1.0}
BARS = "▁▂▃▄▅▆▇█"
SPARK_LENGTH = 10


def forecast_table(forecasts: Sequence[KindForecast], steps: int) -> Table:
    """Tabulate ‖θ‖ of one layer of each kind at four points, under each rule, and as measured if it was."""
    table = _empty_table("layers", "decay", *POINTS, "end RMS", "steady", "settled", "over the run")
    for forecast in forecasts:
        lines = [_line(one, forecast, steps) for one in forecast.by_rule]
        if forecast.from_updates is not None:
            lines.append(_line(forecast.from_updates, forecast, steps, label="as updated"))
        if forecast.measured is not None:
            lines.append(_measured_line(forecast, steps))
        for name, line in zip_longest([forecast.kind.title, forecast.kind.description], lines, fillvalue=""):
            table.add_row(name, *line)
    return table


def suggestion_table(forecasts: Sequence[KindForecast], steps: int) -> Table:
    """Tabulate what gives each kind the desired RMS: at the steady state of the peak, and after the last step by rule.

    Kinds without a desired RMS are left out.
    """
    numbers = ("decay per step", "weight_decay", "steady_norm_sq", "1/(2η)", "of the run")
    table = _empty_table("layers", "RMS", "where", *numbers)
    for forecast in forecasts:
        if forecast.wanted_rms is not None:
            lines = _suggestion_lines(forecast, forecast.wanted_rms, steps)
            for name, line in zip_longest([forecast.kind.title, forecast.kind.description], lines, fillvalue=()):
                table.add_row(name or "", *line)
    return table


def _suggestion_lines(forecast: KindForecast, wanted_rms: float, steps: int) -> list[tuple[str, ...]]:
    found = {"steady": forecast.suggestion} | {f"end, {rule}": one for rule, one in forecast.at_end.items()}
    return [(_number(wanted_rms), where, *_suggestion_numbers(one, steps)) for where, one in found.items()]


def _suggestion_numbers(suggestion: Suggestion | str | None, steps: int) -> tuple[str, ...]:
    if not isinstance(suggestion, Suggestion):
        # The reason is too long for a cell, so a note below the table gives it.
        return ("none",)
    numbers = map(_number, (suggestion.decay, suggestion.weight_decay, suggestion.steady_norm_sq))
    return (*numbers, f"{suggestion.time_constant:.0f} steps", f"{suggestion.time_constant / steps:.2%}")


def _empty_table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=index > 0, overflow="fold")
    return table


def _line(trajectory: Trajectory, forecast: KindForecast, steps: int, label: str | None = None) -> tuple[str, ...]:
    settled = trajectory.settled_step
    when = "no" if settled is None else f"{settled} ({settled / steps:.0%})"
    norms = [trajectory.norms[round(share * steps)] for share in POINTS.values()]
    rms = trajectory.norms[-1] / math.sqrt(forecast.kind.entries)
    spark = _spark(trajectory.norms[np.linspace(0, steps, SPARK_LENGTH).round().astype(int)])
    label = label or trajectory.rule
    return (label, *map(_number, norms), _number(rms), _number(trajectory.steady_norm), when, spark)


def _measured_line(forecast: KindForecast, steps: int) -> tuple[str, ...]:
    assert forecast.measured is not None
    at = forecast.measured.at
    # A log has no record of step 0, but its weights are determined by the seed.
    norms = [math.sqrt(forecast.kind.initial_norm_sq), *(at(share * steps) for share in list(POINTS.values())[1:])]
    rms = norms[-1] / math.sqrt(forecast.kind.entries)
    spark = _spark(np.concatenate((norms[:1], at(np.linspace(0, steps, SPARK_LENGTH)[1:]))))
    return ("measured", *map(_number, norms), _number(rms), "", "", spark)


def _number(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.4g}"


def _spark(values: np.ndarray) -> str:
    """Draw the values as characters of eight heights, from 0 to the largest value."""
    top = float(np.max(values)) or 1.0
    return "".join(BARS[min(7, int(8 * value / top))] for value in values)
