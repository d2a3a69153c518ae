"""The random walk of Fig. 7: forecast and simulation agree, and the verdicts follow the numbers."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from steadydecay.experiments import fig7 as experiment
from steadydecay.experiments.fig7 import Walk
from steadydecay.report.style import style_at
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
        simulated_share = walk.simulated[-1] / max(walk.simulated)
        assert simulated_share == pytest.approx(walk.end_share, abs=0.03)
    assert max(walk.end_share for walk in walks[::2]) < 0.6
    assert min(walk.end_share for walk in walks[1::2]) > 0.95


def test_the_forecast_is_that_of_theory(walks: list[Walk]) -> None:
    lrs = [0.03 * 0.5 * (1 + np.cos(np.pi * step / 800)) for step in range(800)]
    constant = forecast(lrs, [0.5 * lr for lr in lrs], 0.9)
    corrected = forecast(lrs, [0.5 * lr**2 / 0.03 for lr in lrs], 0.9)
    assert walks[2].forecast == pytest.approx(np.sqrt(constant), rel=1e-9)
    assert walks[3].forecast == pytest.approx(np.sqrt(corrected), rel=1e-9)


def test_deviation_is_the_largest_of_the_second_half() -> None:
    walk = Walk(0.0, "constant", [1.0, 2.0, 4.0, 2.0], [9.0, 9.0, 4.4, 1.9])
    assert walk.deviation == pytest.approx(0.1)
    assert walk.end_share == 0.5


@pytest.mark.parametrize(
    ("constant_end", "corrected_end", "simulated_end", "broken"),
    [(0.3, 1.0, 1.01, []), (0.6, 1.0, 1.01, [0]), (0.3, 0.9, 0.9, [1]), (0.3, 1.0, 1.05, [2])],
)
def test_each_part_of_the_claim_can_fail(
    constant_end: float, corrected_end: float, simulated_end: float, broken: list[int]
) -> None:
    walks = [
        Walk(0.0, "constant", [1.0, constant_end], [1.0, constant_end]),
        Walk(0.0, "corrected", [1.0, corrected_end], [1.0, simulated_end]),
    ]
    verdicts = list(experiment.verdicts(walks).values())
    assert [index for index, holds in enumerate(verdicts) if not holds] == broken


def test_the_whole_experiment_in_a_few_steps(tmp_path: Path) -> None:
    finding = experiment.fig7(tmp_path, steps=30)
    assert finding.picture == tmp_path / "fig7.png"
    pixels = imread(finding.picture)[..., :3]
    for index in range(2):
        assert (np.abs(pixels - to_rgb(style_at(index).colour)).max(axis=-1) < 0.02).sum() > 200
    assert [row[0] for row in finding.rows] == [
        "λ constant, β = 0",
        "λ ∝ γ, β = 0",
        "λ constant, β = 0.9",
        "λ ∝ γ, β = 0.9",
    ]
    assert {len(row) for row in finding.rows} == {len(finding.columns)}
    # So short a run is far from its steady state, and the experiment says so.
    assert not finding.verdicts["with λ constant the norm ends below half of its peak"]
