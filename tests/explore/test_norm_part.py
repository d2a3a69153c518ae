"""The second part draws the forecast of theory, and a simulation that agrees with it."""

from typing import Any

import pytest

from steadydecay.explore import norm_part
from steadydecay.explore.norm_part import NormPlan
from steadydecay.schedules.shapes import SHAPES, cosine
from steadydecay.theory import DECAY_RULES, forecast, steady_norm_sq

PLAN = NormPlan("cosine", "constant", "rows of 16", lr=0.03, weight_decay=0.5, momentum=0.9, nesterov=False, steps=200)


def drawn(plan: NormPlan) -> dict[str, Any]:
    """The traces by name."""
    figure: Any = norm_part.norm_figure(plan)
    return {trace.name: trace for trace in figure.data}


def test_the_forecast_is_that_of_theory() -> None:
    lrs = [0.03 * cosine(step, 200) for step in range(200)]
    expected = forecast(lrs, [0.5 * lr for lr in lrs], 0.9, lmo=("vector", 16))
    curve = drawn(PLAN)["forecast"]
    assert [norm**2 for norm in curve.y] == pytest.approx(expected)
    assert list(curve.x) == list(range(1, 201))


@pytest.mark.parametrize("lmo", norm_part.LMOS)
def test_the_simulation_lies_on_the_forecast(lmo: str) -> None:
    traces = drawn(PLAN._replace(lmo=lmo))
    points, curve = traces["simulation"], traces["forecast"]
    assert points.mode == "markers"
    assert len(points.x) == norm_part.SIMULATED_MARKS
    assert list(points.y) == pytest.approx([curve.y[step - 1] for step in points.x], rel=0.06)


def test_nesterov_and_momentum_reach_both() -> None:
    plain = drawn(PLAN)
    for changed in (PLAN._replace(nesterov=True), PLAN._replace(momentum=0.8)):
        for name in ("forecast", "simulation", "steady state of that step"):
            assert drawn(changed)[name].y[-1] < 0.95 * plain[name].y[-1]


def test_the_steady_state_is_that_of_each_step_and_ends_where_nothing_moves() -> None:
    curve = drawn(PLAN)["steady state of that step"]
    lr = 0.03 * cosine(100, 200)
    at_half = steady_norm_sq(lr, 0.5 * lr, 0.9, lmo=("vector", 16)) ** 0.5
    assert dict(zip(curve.x, curve.y, strict=True))[101] == pytest.approx(at_half)


@pytest.mark.parametrize("rule", DECAY_RULES)
def test_another_rule_is_drawn_beside_the_constant_one(rule: str) -> None:
    traces = drawn(PLAN._replace(rule=rule))
    assert ("forecast, constant λ" in traces) == (rule != "constant")
    if rule != "constant":
        assert list(traces["forecast, constant λ"].y) == list(drawn(PLAN)["forecast"].y)


@pytest.mark.parametrize("rule", ["corrected", "exact"])
def test_a_corrected_norm_stays_where_the_constant_one_falls(rule: str) -> None:
    traces = drawn(PLAN._replace(rule=rule))
    assert traces["forecast"].y[-1] > 1.25 * traces["forecast, constant λ"].y[-1]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_schedules_are_shares_of_their_peaks(shape: str) -> None:
    traces = drawn(PLAN._replace(shape=shape, rule="corrected"))
    lr, decay = traces["learning rate γ ÷ its peak"].y, traces["decay η ÷ its peak"].y
    assert list(lr) == pytest.approx([SHAPES[shape](step, 200, 0) for step in range(200)])
    assert max(decay) == 1
    assert [share**2 for share in lr] == pytest.approx(list(decay))


def test_curves_differ_without_colour() -> None:
    above = [trace for trace in drawn(PLAN._replace(rule="exact")).values() if trace.yaxis == "y"]
    looks = [trace.line.dash if trace.mode == "lines" else trace.marker.symbol for trace in above]
    assert len(set(looks)) == len(above) == 4


def test_without_weight_decay_no_norm_is_steady() -> None:
    traces = drawn(PLAN._replace(weight_decay=0.0))
    assert len(traces["steady state of that step"].x) == 0
    assert traces["forecast"].y[-1] == max(traces["forecast"].y)
    assert set(traces["decay η ÷ its peak"].y) == {0.0}
