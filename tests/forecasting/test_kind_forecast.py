"""Forecasts of all kinds, beside measurements, and the advice on those that never settle."""

import numpy as np
import pytest

from steadydecay.forecasting.hyperparameters import Hyperparameters
from steadydecay.forecasting.kind_forecast import advice, forecast_kinds
from steadydecay.forecasting.plan import Plan, plan_of, shares_of
from steadydecay.forecasting.trained_run import TrainedRun
from steadydecay.recipes.gpt.recipe import gpt_recipe


def plan(steps: int, *shapes: str, optimizer: str = "scion", decay_per_step: float = 0.02) -> Plan:
    given = Hyperparameters(optimizer, lr=0.1, decay_per_step=decay_per_step)
    return plan_of(list(shapes), None, given, shares_of("cosine", steps))


def run_of(weight_norms: dict[str, dict[int, float]], update_norms: dict[str, dict[int, float]]) -> TrainedRun:
    return TrainedRun("run", gpt_recipe("mini", "scion", {}), weight_norms, update_norms)


def test_every_kind_has_both_rules_and_an_output_layer_one() -> None:
    planned = plan(300, "8x4", "16x4:output")
    hidden, output = forecast_kinds(planned.kinds, planned.shares)
    assert [one.rule for one in hidden.by_rule] == ["constant", "corrected"]
    assert [one.rule for one in output.by_rule] == ["constant"]
    assert hidden.by_rule[0].norms[-1] < 0.8 * hidden.by_rule[1].norms[-1]
    assert (hidden.measured, hidden.from_updates, hidden.suggestion, hidden.is_unreachable) == (None, None, None, False)


def test_a_run_is_measured_beside_its_own_rule() -> None:
    planned = plan(100, "8x4", "4x4")
    run = run_of({"8x4": {50: 3.0, 100: 2.0}}, {"8x4": {50: np.sqrt(8.0) * 0.1 * planned.shares[49]}})
    measured, other = forecast_kinds(planned.kinds, planned.shares, run=run)
    assert measured.measured is not None and measured.measured.values.tolist() == [3.0, 2.0]
    assert measured.from_updates is not None and measured.from_updates.rule == "constant"
    np.testing.assert_allclose(measured.from_updates.norms, measured.by_rule[0].norms, rtol=1e-12)
    assert (other.measured, other.from_updates) == (None, None)


def test_a_run_under_another_rule_shows_it_too() -> None:
    planned = plan(100, "8x4")
    (kind,) = planned.kinds
    exact = [type(kind)(kind.names, kind.shape, 1, kind.settings | {"decay": "exact"}, kind.optimizer, 1.0)]
    (found,) = forecast_kinds(exact, planned.shares)
    assert [one.rule for one in found.by_rule] == ["constant", "corrected", "exact"]


def test_a_wanted_rms_is_answered_for_each_kind() -> None:
    planned = plan(100, "8x4", "8")
    matrix, vector = forecast_kinds(planned.kinds, planned.shares, wanted_rms=0.09)
    assert matrix.suggestion is not None and matrix.suggestion.rms == 0.09 and not matrix.is_unreachable
    assert vector.suggestion is None and vector.is_unreachable


def test_a_wanted_rms_outside_its_range_is_named() -> None:
    with pytest.raises(ValueError, match="wanted_rms is -1"):
        forecast_kinds(plan(10, "8x4").kinds, [1.0], wanted_rms=-1.0)


def test_nothing_is_said_of_layers_that_settle() -> None:
    planned = plan(1000, "8x4", "16x4:output")
    assert advice(forecast_kinds(planned.kinds, planned.shares)) == []


def test_a_run_that_is_too_short_says_by_how_much() -> None:
    planned = plan(1000, "8x4", "16x4:output", decay_per_step=0.001)
    (said,) = advice(forecast_kinds(planned.kinds, planned.shares))
    assert said.startswith("all layers: the run is 1 time constants 1/(2η) long and ends before its steady state")
    assert said.endswith("takes 3: 3 times the steps or the decay.")


def test_layers_without_decay_are_named_apart() -> None:
    planned = plan(1000, "8x4", "8", optimizer="adamw")
    (said,) = advice(forecast_kinds(planned.kinds, planned.shares))
    assert said == "8: no decay, so no steady state: the norm grows to the end."
