"""Plans: which layers, which schedule, and how large the weights start."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steadydecay.forecasting.hyperparameters import PREDICTABLE, Hyperparameters
from steadydecay.forecasting.kind_forecast import forecast_kinds
from steadydecay.forecasting.plan import plan_of, plan_of_run, shares_of
from steadydecay.forecasting.trajectories import forecast_norms
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.optimizers import OPTIMIZERS as TRAINED
from steadydecay.recipes.train import train
from steadydecay.run_log.reader import read_log
from steadydecay.run_log.writer import RunLog
from steadydecay.schedules.shapes import cosine
from steadydecay.theory import effective_lr

SCION = Hyperparameters("scion", lr=0.1, decay_per_step=0.01)
ADAMW = Hyperparameters("adamw", lr=0.1, decay_per_step=0.01)


def test_shares_are_those_that_training_uses() -> None:
    assert shares_of("cosine", 20, 4) == [cosine(step, 20, 4) for step in range(20)]
    assert shares_of("constant", 3) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("schedule", "steps", "warmup", "message"),
    [
        ("cosin", 10, 0, "shape is 'cosin'; it must be one of 'cosine'"),
        ("cosine", 0, 0, "steps is 0; it must be"),
        ("cosine", -5, 0, "steps is -5"),
        ("cosine", 10**9, 0, "steps is 1000000000; it must be"),
        ("cosine", 10, 10, r"warmup is 10; it must be in \[0, 10\)"),
        ("cosine", 10, -1, "warmup is -1"),
    ],
)
def test_a_schedule_outside_its_range_is_named(schedule: str, steps: int, warmup: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shares_of(schedule, steps, warmup)


def test_shapes_take_the_role_norm_and_count_they_name() -> None:
    plan = plan_of(["8x4:3", "16x4:output", "4x4:sign"], None, SCION, [1.0])
    found = [(kind.title, kind.settings["role"], kind.settings["norm"], kind.count) for kind in plan.kinds]
    assert found == [
        ("8x4:3", "hidden", "spectral", 3),
        ("16x4:output", "output", "sign", 1),
        ("4x4:sign", "hidden", "sign", 1),
    ]


def test_a_model_is_planned_whole() -> None:
    plan = plan_of([], "gpt2", SCION, [1.0])
    assert sum(kind.entries * kind.count for kind in plan.kinds) == 124_439_808
    attention = next(kind for kind in plan.kinds if "c_attn.weight" in kind.title)
    assert attention.settings["norm"] == {"name": "spectral", "transposed": True, "split_sizes": (768, 768, 768)}


def test_the_start_is_said_in_words_and_taken() -> None:
    unit = plan_of(["8x4"], None, SCION, [1.0])
    assert unit.start.startswith("those of steadydecay.init_") and "zero where" not in unit.start
    assert unit.kinds[0].initial_norm_sq == pytest.approx(8 / 4 * 4)
    zero = plan_of(["8x4"], None, ADAMW, [1.0])
    assert zero.start.startswith("zero") and zero.kinds[0].initial_norm_sq == 0
    given = plan_of(["8x4"], None, ADAMW, [1.0], init_rms=0.5)
    assert given.start == "an RMS of 0.5" and given.kinds[0].initial_norm_sq == 8.0
    muon = plan_of(["8x4", "8x4:output"], None, Hyperparameters("muon", lr=0.1, decay_per_step=0.01), [1.0])
    assert muon.start.endswith("zero where a layer has no norm")


@pytest.mark.parametrize(
    ("shapes", "model", "hyperparameters", "init_rms", "message"),
    [
        ([], None, SCION, None, r"shape is \[\] and model is None; give exactly one of them"),
        (["4x4"], "gpt2", SCION, None, r"shape is \['4x4'\] and model is 'gpt2'; give exactly one of them"),
        (["4x4"], None, SCION, -1.0, "init_rms is -1.0; it must be"),
        (["4x4"], None, SCION, math.nan, "init_rms is nan"),
        (["4x4:spectral"], None, ADAMW, None, "shape is '4x4:spectral', but 'adamw' does not use norms"),
    ],
)
def test_what_cannot_be_planned_is_named(
    shapes: list[str], model: str | None, hyperparameters: Any, init_rms: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of(shapes, model, hyperparameters, [1.0], init_rms)


@pytest.mark.parametrize("optimizer", sorted(TRAINED.keys() & {*PREDICTABLE, "renormalized_adamw"}))
def test_a_run_of_every_other_optimizer_is_planned_and_forecast(optimizer: str, text: Path, tmp_path: Path) -> None:
    small = {"layers": 1, "width": 16, "heads": 1, "steps": 20, "data": str(text)}
    recipe = gpt_recipe("mini", optimizer, small)
    RunLog.open(tmp_path / "run.jsonl", configuration=dataclasses.asdict(recipe), resume_step=None).close()
    plan = plan_of_run(tmp_path)
    assert (plan.start, len(plan.shares)) == ("those of the model with seed 0", 20)
    assert plan.shares == [cosine(step, 20, recipe.warmup_steps) for step in range(20)]
    for forecast in forecast_kinds(plan.kinds, plan.shares, run=plan.run):
        own = next(one for one in forecast.by_rule if one.rule == forecast.kind.own_rule)
        assert all(map(math.isfinite, own.norms)) and own.norms[-1] > 0
        assert own.decays[recipe.warmup_steps] == pytest.approx(recipe.decay_per_step, rel=0.02)


@pytest.mark.parametrize("optimizer", sorted(TRAINED.keys() - {*PREDICTABLE, "renormalized_adamw"}))
def test_a_run_that_no_theory_predicts_is_refused(optimizer: str, tmp_path: Path) -> None:
    recipe = gpt_recipe("mini", optimizer, {})
    RunLog.open(tmp_path / "run.jsonl", configuration=dataclasses.asdict(recipe), resume_step=None).close()
    with pytest.raises(
        ValueError, match=f"folder is .*, which is a run of '{optimizer}', (whose updates|whose L2|whose S)"
    ):
        plan_of_run(tmp_path)


def test_under_scionc_cosine_the_decay_is_that_of_a_falling_s() -> None:
    settings = Hyperparameters(optimizer="scionc_cosine", lr=0.1, decay_per_step=0.01)
    plan = plan_of(["8x8", "32x8:output"], None, settings, shares_of("cosine", 100))
    hidden, output = (one for one in plan.kinds if one.settings["role"] in ("hidden", "output"))
    lr = 0.1 * np.asarray(plan.shares)
    # Algorithm 2: η_t = γ_eff²/(2S_t), with S_t on a cosine to a quarter of where it starts.
    start = effective_lr(0.1, 0.9) ** 2 / (2 * 0.01)
    falling = start * (0.25 + 0.75 * (1 + np.cos(np.pi * np.arange(100) / 100)) / 2)
    expected = np.array([effective_lr(one, 0.9) ** 2 for one in lr]) / (2 * falling)
    assert forecast_norms(hidden, "corrected", plan.shares).decays == pytest.approx(expected)
    assert forecast_norms(hidden, "constant", plan.shares).decays == pytest.approx(0.01 * np.asarray(plan.shares))
    assert forecast_norms(output, "corrected", plan.shares).decays == pytest.approx(0.01 * np.asarray(plan.shares))
    assert plan.steady_norm_end == 0.25


def test_a_run_of_scionc_cosine_decays_as_its_forecast_does(text: Path, tmp_path: Path) -> None:
    given = {"layers": 1, "width": 32, "heads": 1, "length": 16, "batch_size": 2, "evaluation_batches": 1}
    given |= {"data": str(text), "precision": "float32", "steps": 12}
    train(gpt_recipe("mini", "scionc_cosine", given), tmp_path / "run")
    plan = plan_of_run(tmp_path / "run")
    records = [one for one in read_log(tmp_path / "run/run.jsonl").records if one["kind"] == "step"]
    for kind in plan.kinds:
        logged = [record["decay"][kind.settings["role"]] for record in records]
        assert forecast_norms(kind, kind.own_rule, plan.shares).decays == pytest.approx(logged)
