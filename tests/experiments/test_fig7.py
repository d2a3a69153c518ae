"""The random walk of Fig. 7: forecast and simulation agree, and a short walk bears out nothing."""

import numpy as np
import pytest

from steadydecay.experiments import fig7 as experiment
from steadydecay.experiments.criterion import judged
from steadydecay.experiments.fig7 import Walk
from steadydecay.theory import forecast


@pytest.fixture(scope="module")
def walks() -> list[Walk]:
    return experiment.random_walks(steps=800, dimension=8192)


def test_the_norm_falls_under_a_constant_decay_and_stays_under_the_corrected(walks: list[Walk]) -> None:
    assert [(walk.momentum, walk.rule) for walk in walks] == [
        (0.0, "constant"),
        (0.0, "corrected"),
        (0.9, "constant"),
        (0.9, "corrected"),
    ]
    for walk in walks:
        # √(2/8192) is the noise of the square.
        assert 0 < walk.deviation < 3 * 0.5 * (2 / 8192) ** 0.5
        assert walk.end_share == pytest.approx(walk.forecast[-1] / max(walk.forecast), abs=0.03)
    assert max(walk.end_share for walk in walks[::2]) < 0.6
    assert min(walk.end_share for walk in walks[1::2]) > 0.95


def test_the_forecast_is_that_of_theory(walks: list[Walk]) -> None:
    lrs = [0.03 * 0.5 * (1 + np.cos(np.pi * step / 800)) for step in range(800)]
    constant = forecast(lrs, [0.5 * lr for lr in lrs], 0.9)
    corrected = forecast(lrs, [0.5 * lr**2 / 0.03 for lr in lrs], 0.9)
    assert walks[2].forecast == pytest.approx(np.sqrt(constant), rel=1e-9)
    assert walks[3].forecast == pytest.approx(np.sqrt(corrected), rel=1e-9)


def test_deviation_is_the_largest_of_the_second_half() -> None:
    walk = Walk(0.0, "constant", [1.0, 2.0, 4.0, 2.0], [9.0, 9.0, 4.4, 1.8])
    assert walk.deviation == pytest.approx(0.1)
    assert walk.end_share == pytest.approx(0.2)


def test_a_walk_far_from_its_steady_state_bears_out_nothing() -> None:
    finding = experiment.examine({}, steps=30)
    assert [row[0] for row in finding.rows] == [
        "λ constant, β = 0",
        "λ ∝ γ, β = 0",
        "λ constant, β = 0.9",
        "λ ∝ γ, β = 0.9",
    ]
    assert {len(row) for row in finding.rows} == {len(finding.columns)}
    assert judged(experiment.CRITERIA["falls"], finding.values["falls"]).verdict == "not reproduced"
    assert [len(panel.lines) for panel in finding.panels] == [4, 4]
