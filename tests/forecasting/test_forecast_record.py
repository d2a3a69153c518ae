"""The record for machines: strict JSON, with the numbers of the trajectories."""

import json
import math

import pytest

from steadydecay.forecasting.forecast_record import forecast_record
from steadydecay.forecasting.hyperparameters import Hyperparameters
from steadydecay.forecasting.kind_forecast import forecast_kinds
from steadydecay.forecasting.plan import plan_of, shares_of
from steadydecay.forecasting.suggestion import Suggestion
from steadydecay.forecasting.trained_run import TrainedRun
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.run_log.record import json_line

GIVEN = Hyperparameters("scion", lr=0.1, decay_per_step=0.02)


def test_a_record_holds_settings_trajectories_and_suggestion() -> None:
    plan = plan_of(["8x4:3"], None, GIVEN, shares_of("cosine", 2000))
    (forecast,) = found = forecast_kinds(plan.kinds, plan.shares, wanted_rms=0.5)
    record = json.loads(json_line(forecast_record(found, 2000, ["a note"])))
    assert (record["steps"], record["notes"]) == (2000, ["a note"])
    assert record["at_step"][0] == 0 and record["at_step"][-1] == 2000 and len(record["at_step"]) == 500
    (layer,) = record["layers"]
    assert {key: layer[key] for key in ("names", "role", "norm", "shape", "count", "lr")} == {
        "names": ["8x4:3"],
        "role": "hidden",
        "norm": "spectral",
        "shape": [8, 4],
        "count": 3,
        "lr": 0.1,
    }
    assert layer["initial_norm"] == pytest.approx(math.sqrt(8))
    corrected, expected = layer["decay"]["corrected"], forecast.by_rule[1]
    assert corrected["norm"] == [expected.norms[step] for step in record["at_step"]]
    assert corrected["final_rms"] == pytest.approx(expected.norms[-1] / math.sqrt(32))
    assert corrected["steady_norm"] == expected.steady_norm
    assert corrected["settled_step"] == expected.settled_step
    assert forecast.suggestion is not None
    assert layer["suggestion"]["weight_decay"] == forecast.suggestion.weight_decay
    at_end = {rule: one.weight_decay for rule, one in forecast.at_end.items() if isinstance(one, Suggestion)}
    said = layer["suggestion_at_end"]
    assert {rule: one["weight_decay"] for rule, one in said.items() if one is not None} == at_end
    assert said.keys() == forecast.at_end.keys() and at_end
    assert (layer["measured"], layer["with_measured_updates"]) == (None, None)


def test_a_short_run_has_every_step() -> None:
    plan = plan_of(["8x4"], None, GIVEN, shares_of("cosine", 3))
    record = forecast_record(forecast_kinds(plan.kinds, plan.shares), 3, [])
    assert record["at_step"] == [0, 1, 2, 3]
    assert record["layers"][0]["suggestion"] is None


def test_measurements_are_in_the_record() -> None:
    run = TrainedRun("run", gpt_recipe("mini", "scion", {}), {"8x4": {1: 3.0, 3: 2.0}}, {"8x4": {2: 2.0}})
    plan = plan_of(["8x4"], None, GIVEN, shares_of("cosine", 3))
    record = json.loads(json_line(forecast_record(forecast_kinds(plan.kinds, plan.shares, run=run), 3, [])))
    (layer,) = record["layers"]
    assert layer["measured"] == {"at_step": [1, 3], "norm": [3.0, 2.0]}
    assert layer["with_measured_updates"]["rule"] == "constant"


def test_infinities_are_said_in_strict_json() -> None:
    free = Hyperparameters("scion", lr=0.1, decay_per_step=0.0)
    plan = plan_of(["8x4"], None, free, shares_of("cosine", 3))
    record = json.loads(json_line(forecast_record(forecast_kinds(plan.kinds, plan.shares), 3, [])))
    assert record["layers"][0]["decay"]["constant"]["steady_norm"] == "Infinity"
