"""Tables of a forecast: every number is one of the trajectory's."""

import math
from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from steadydecay.forecasting.forecast_table import forecast_table, suggestion_table
from steadydecay.forecasting.hyperparameters import Hyperparameters
from steadydecay.forecasting.kind_forecast import KindForecast, forecast_kinds
from steadydecay.forecasting.plan import plan_of, shares_of
from steadydecay.forecasting.suggestion import Suggestion
from steadydecay.forecasting.trained_run import TrainedRun
from steadydecay.recipes.gpt.recipe import gpt_recipe

STEPS = 400


def forecasts(*shapes: str, run: TrainedRun | None = None, wanted_rms: float | None = None) -> list[KindForecast]:
    given = Hyperparameters("scion", lr=0.1, decay_per_step=0.02)
    plan = plan_of(list(shapes), None, given, shares_of("cosine", STEPS))
    return forecast_kinds(plan.kinds, plan.shares, run=run, wanted_rms=wanted_rms)


def lines_of(table: Table, width: int = 120) -> list[str]:
    shown = StringIO()
    Console(file=shown, width=width).print(table)
    return [line.rstrip() for line in shown.getvalue().splitlines()]


def test_a_line_shows_four_points_of_its_trajectory() -> None:
    (forecast,) = forecasts("8x4:6")
    header, constant, corrected = lines_of(forecast_table([forecast], STEPS))
    assert header.split()[:7] == ["layers", "decay", "start", "middle", "90", "%", "end"]
    for line, trajectory in zip((constant, corrected), forecast.by_rule, strict=True):
        cells = line[line.index(trajectory.rule) :].split()
        expected = [trajectory.norms[step] for step in (0, 200, 360, 400)]
        expected += [trajectory.norms[-1] / math.sqrt(32), trajectory.steady_norm]
        assert cells[1:7] == [f"{value:.4g}" for value in expected]
        settled = trajectory.settled_step
        assert settled is not None
        assert cells[7:9] == [str(settled), f"({settled / STEPS:.0%})"]
        assert len(cells[9]) == 10 and set(cells[9]) <= set("▁▂▃▄▅▆▇█") and "█" in cells[9]
    assert constant.startswith("8x4:6 ") and corrected.startswith("hidden spectral 8×4 ×6 ")


def test_an_output_layer_has_one_rule_and_still_its_description() -> None:
    _, first, second = lines_of(forecast_table(forecasts("16x4:output"), STEPS))
    assert first.startswith("16x4:output") and " constant " in first
    assert second == "output sign 16×4"


def test_measurements_stand_below_the_forecast() -> None:
    norms = {step: 2.0 + step / STEPS for step in range(4, STEPS + 1, 4)}
    run = TrainedRun("run", gpt_recipe("mini", "scion", {}), {"8x4": norms}, {"8x4": {100: 2.0}})
    (forecast,) = forecasts("8x4", run=run)
    lines = lines_of(forecast_table([forecast], STEPS))
    measured = lines[4].split()
    assert measured[:5] == ["measured", f"{math.sqrt(8):.4g}", "2.5", "2.9", "3"]
    assert measured[5] == f"{3 / math.sqrt(32):.4g}"
    assert forecast.from_updates is not None
    assert lines[3].split()[:3] == ["as", "updated", f"{math.sqrt(8):.4g}"]
    assert lines[3].split()[5] == f"{forecast.from_updates.norms[-1]:.4g}"


@pytest.mark.parametrize("width", [100, 200])
def test_no_number_is_cut_or_broken(width: int) -> None:
    long_names = [f"{8 * index}x4:sign:1000{index}" for index in range(1, 5)]
    text = "\n".join(lines_of(forecast_table(forecasts(*long_names), STEPS), width))
    assert "…" not in text
    for forecast in forecasts(*long_names):
        assert f"{forecast.by_rule[1].norms[-1]:.4g}" in text


def test_without_decay_the_steady_norm_is_infinite_and_never_there() -> None:
    given = Hyperparameters("scion", lr=0.1, decay_per_step=0.0)
    plan = plan_of(["8x4"], None, given, shares_of("cosine", STEPS))
    line = lines_of(forecast_table(forecast_kinds(plan.kinds, plan.shares), STEPS))[1]
    assert line.split()[7:9] == ["∞", "no"]


def test_a_zero_weight_that_stays_zero_has_a_flat_line() -> None:
    (forecast,) = forecasts("8x4")
    norms = np.zeros_like(forecast.by_rule[0].norms)
    zero = [type(one)(one.rule, norms, one.decays, 1.0, 1.0, 1.0, None) for one in forecast.by_rule]
    line = lines_of(forecast_table([KindForecast(forecast.kind, tuple(zero))], STEPS))[1]
    assert line.endswith("▁" * 10)


def test_suggestions_are_those_of_each_kind() -> None:
    matrix, output, vector = found = forecasts("8x4", "64x4:output", "8", wanted_rms=0.25)
    lines = lines_of(suggestion_table(found, STEPS))
    suggestions = {"steady": matrix.suggestion} | {f"end, {rule}": one for rule, one in matrix.at_end.items()}
    assert list(suggestions) == ["steady", "end, constant", "end, corrected"]
    for line, (where, one) in zip(lines[1:4], suggestions.items(), strict=True):
        assert isinstance(one, Suggestion)
        numbers = line[line.index("0.25") :].split()[1 + len(where.split()) :]
        assert numbers[:3] == [f"{number:.4g}" for number in (one.decay, one.weight_decay, one.steady_norm_sq)]
        assert numbers[3:] == [f"{one.time_constant:.0f}", "steps", f"{one.time_constant / STEPS:.2%}"]
        assert f" {where} " in line
    assert lines[1].startswith("8x4 ") and lines[2].startswith("hidden spectral 8×4 ")
    assert isinstance(output.suggestion, Suggestion) and list(output.at_end) == ["constant"]
    assert lines[4].startswith("64x4:output ") and lines[5].startswith("output sign 64×4 ")
    assert vector.wanted_rms is None and len(lines) == 6


@pytest.mark.parametrize(
    ("wanted", "rows"), [(0.01, ["steady", "constant", "corrected"]), (90.0, ["constant", "corrected"])]
)
def test_a_wanted_rms_that_no_decay_gives_has_no_numbers(wanted: float, rows: list[str]) -> None:
    lines = lines_of(suggestion_table(forecasts("8x4", wanted_rms=wanted), STEPS))
    assert [line.split()[-2] for line in lines if line.endswith("none")] == rows
