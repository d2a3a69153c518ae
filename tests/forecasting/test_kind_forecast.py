"""Forecasts of all kinds, beside measurements, and the advice on those that never settle."""

import numpy as np
import pytest

from steadydecay.forecasting.hyperparameters import Hyperparameters
from steadydecay.forecasting.kind_forecast import advice, forecast_kinds, unreached
from steadydecay.forecasting.plan import Plan, plan_of, shares_of
from steadydecay.forecasting.suggestion import Suggestion
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
    assert (hidden.measured, hidden.from_updates, hidden.suggestion, hidden.at_end) == (None, None, None, {})


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


@pytest.mark.parametrize("optimizer", ["scion", "adamw", "muon"])
def test_a_wanted_rms_is_answered_for_matrices_and_never_for_gains(optimizer: str) -> None:
    planned = plan(100, "8x4", "16x4:output", "4x4:embedding", "8", "6x2:vector", optimizer=optimizer)
    found = {one.kind.title: one for one in forecast_kinds(planned.kinds, planned.shares, wanted_rms=0.4)}
    assert {title for title, one in found.items() if one.wanted_rms is None} == {"8", "6x2:vector"}
    for title, one in found.items():
        rules = {"8x4": ["constant", "corrected"], "4x4:embedding": ["constant", "corrected"]}.get(title, ["constant"])
        assert list(one.at_end) == ([] if one.wanted_rms is None else rules)
        assert (one.suggestion is None) == (one.wanted_rms is None)


def test_an_open_decay_is_the_one_that_ends_at_the_wanted_rms() -> None:
    planned = plan(400, "8x4", "16x4:output", "8", decay_per_step=0.0)
    found = forecast_kinds(planned.kinds, planned.shares, wanted_rms=0.3, is_decay_open=True)
    for forecast in found[:2]:
        for trajectory in forecast.by_rule:
            assert trajectory.norms[-1] / forecast.kind.entries**0.5 == pytest.approx(0.3, rel=1e-6)
    gain = found[2].by_rule[0]
    assert not gain.decays.any(), "of gains no decay is known, and none is suggested"


def test_a_decay_that_was_given_stays_in_the_forecast() -> None:
    planned = plan(400, "8x4")
    (with_wish,) = forecast_kinds(planned.kinds, planned.shares, wanted_rms=0.3)
    (without,) = forecast_kinds(planned.kinds, planned.shares)
    for one, other in zip(with_wish.by_rule, without.by_rule, strict=True):
        np.testing.assert_array_equal(one.norms, other.norms)


def test_what_no_decay_reaches_is_said_once_with_what_there_is() -> None:
    planned = plan(50, "8x4", "16x4:output", decay_per_step=0.0)
    found = forecast_kinds(planned.kinds, planned.shares, wanted_rms=50.0, is_decay_open=True)
    first, second = unreached(found)
    rms = found[0].by_rule[0].norms[-1] / 32**0.5
    reason = f"because even without decay it ends at only {rms:.3g}."
    assert first == f"8x4: No constant or corrected decay leads to an RMS of 50, {reason}"
    assert second.startswith(
        "16x4:output: No constant decay leads to an RMS of 50, because even without decay it ends at only "
    )
    assert unreached(forecast_kinds(planned.kinds, planned.shares, wanted_rms=0.3)) == []
    assert unreached(forecast_kinds(planned.kinds, planned.shares)) == []


def test_a_steady_state_below_one_update_and_gains_are_said_apart() -> None:
    planned = plan(50, "8x4", "8", "4")
    said = unreached(forecast_kinds(planned.kinds, planned.shares, wanted_rms=0.01))
    assert "8x4: No steady decay leads to an RMS of 0.01, because a single update is larger; lower lr." in said
    assert said[-1] == "8, 4: No decay is suggested for gains and biases."


def test_a_wanted_rms_outside_its_range_is_named() -> None:
    with pytest.raises(ValueError, match="wanted_rms is -1"):
        forecast_kinds(plan(10, "8x4").kinds, [1.0], wanted_rms=-1.0)


def test_nothing_is_said_of_layers_that_settle() -> None:
    planned = plan(1000, "8x4", "16x4:output")
    assert advice(forecast_kinds(planned.kinds, planned.shares)) == []


def test_a_run_that_is_too_short_says_by_how_much() -> None:
    planned = plan(1000, "8x4", "16x4:output", decay_per_step=0.001)
    (said,) = advice(forecast_kinds(planned.kinds, planned.shares))
    assert said.startswith("All layers: The run is 1 time constants 1/(2η) long, and ends before its steady state")
    assert said.endswith("takes 3. It would need 3 times the steps or the decay.")


def test_layers_without_decay_are_named_apart() -> None:
    planned = plan(1000, "8x4", "8", optimizer="adamw")
    (said,) = advice(forecast_kinds(planned.kinds, planned.shares))
    assert said == "8: There is no decay and so no steady state, and the norm grows until the end."


def test_the_steady_state_and_the_two_ends_of_a_long_run_are_three_decays() -> None:
    given = Hyperparameters("adamw", lr=6e-4, decay_per_step=0.0)
    planned = plan_of(["8x8"], None, given, shares_of("cosine", 50000, 2000), init_rms=0.02)
    (found,) = forecast_kinds(planned.kinds, planned.shares, wanted_rms=0.05)
    suggested = {"steady": found.suggestion} | dict(found.at_end)
    said = {where: round(one.weight_decay, 4) for where, one in suggested.items() if isinstance(one, Suggestion)}
    assert said == {"steady": 0.1199, "constant": 0.0654, "corrected": 0.1116}
