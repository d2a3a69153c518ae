"""A random walk under a cosine learning rate, λ constant and λ ∝ γ (arXiv 2512.08217, Appendix A, Fig. 7)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from steadydecay.experiments.criterion import Criterion
from steadydecay.experiments.experiment import Experiment, Finding, Part, Runs
from steadydecay.experiments.panels import Line, Panel
from steadydecay.experiments.run_measures import mean_and_deviation
from steadydecay.schedules.shapes import cosine
from steadydecay.theory import Reference, decay, forecast, simulate

STEPS = 2000
LR = 0.03
WEIGHT_DECAY = 0.5
MOMENTA = (0.0, 0.9)
RULES = {"constant": "λ constant", "corrected": "λ ∝ γ"}
# 32 768 entries make a noise of 1 %.
DIMENSION = 32_768
SEEDS = 3
MARKS = 25
CRITERIA = {
    "falls": Criterion("‖θ‖ of the simulation at the end over its peak, λ constant, larger of both momenta", high=0.5),
    "stays": Criterion("‖θ‖ of the simulation at the end over its peak, λ ∝ γ, smaller of both momenta", low=0.95),
    "forecast": Criterion(
        "largest relative difference of simulation and forecast in the second half of all walks", high=0.02
    ),
}


class Walk(NamedTuple):
    """One random walk: ‖θ‖ in units of the update's norm after each step.

    Attributes:
        momentum, rule: β, and the key of the decay rule.
        forecast, simulated: of equal length.
    """

    momentum: float
    rule: str
    forecast: list[float]
    simulated: list[float]

    @property
    def end_share(self) -> float:
        """Norm at the end over its peak, as simulated."""
        return self.simulated[-1] / max(self.simulated)

    @property
    def deviation(self) -> float:
        """Largest relative difference of the two over the second half."""
        half = len(self.forecast) // 2
        pairs = zip(self.forecast[half:], self.simulated[half:], strict=True)
        return max(abs(simulated / expected - 1) for expected, simulated in pairs)


def random_walks(steps: int = STEPS, dimension: int = DIMENSION, seed: int = 0) -> list[Walk]:
    """Each momentum under each rule, on one cosine."""
    lrs = [LR * cosine(step, steps) for step in range(steps)]
    walks = []
    for momentum in MOMENTA:
        reference = Reference(LR, WEIGHT_DECAY, momentum)
        for rule in RULES:
            decays = [decay(lr, momentum, False, reference, rule) for lr in lrs]
            expected = forecast(lrs, decays, momentum)
            simulated = simulate(lrs, decays, momentum, dim=dimension, seed=seed)
            walks.append(Walk(momentum, rule, _roots(expected), _roots(simulated)))
    return walks


def examine(runs: Runs, steps: int = STEPS) -> Finding:
    """Simulate the walks of each seed; a simulation has no runs."""
    of_seeds = [random_walks(steps, seed=seed) for seed in range(SEEDS)]
    values = {
        "falls": [max(walk.end_share for walk in walks if walk.rule == "constant") for walks in of_seeds],
        "stays": [min(walk.end_share for walk in walks if walk.rule == "corrected") for walks in of_seeds],
        "forecast": [max(walk.deviation for walk in walks) for walks in of_seeds],
    }
    columns = ("‖θ‖ in updates", "peak, forecast", "end, forecast", "end, simulated")
    return Finding(values, [_panel(of_seeds[0], momentum) for momentum in MOMENTA], columns, _rows(of_seeds))


def _rows(of_seeds: Sequence[Sequence[Walk]]) -> list[tuple[str, ...]]:
    rows = []
    for same in zip(*of_seeds, strict=True):
        walk, simulated = same[0], mean_and_deviation([one.simulated[-1] for one in same], 4)
        name = f"{RULES[walk.rule]}, β = {walk.momentum:g}"
        rows.append((name, f"{max(walk.forecast):.4f}", f"{walk.forecast[-1]:.4f}", simulated))
    return rows


def _panel(walks: Sequence[Walk], momentum: float) -> Panel:
    """Forecasts as lines, simulations as points."""
    lines = []
    for walk in walks:
        if walk.momentum == momentum:
            steps, every = list(range(1, len(walk.forecast) + 1)), max(1, len(walk.forecast) // MARKS)
            lines.append(Line(f"{RULES[walk.rule]}, forecast", steps, walk.forecast))
            lines.append(
                Line(f"{RULES[walk.rule]}, simulated", steps[::every], walk.simulated[::every], is_points=True)
            )
    return Panel(f"random walk, β = {momentum:g}", "step", "‖θ‖ ÷ ‖update‖", lines, from_zero=True)


def _roots(squares: list[float]) -> list[float]:
    return [math.sqrt(square) for square in squares]


FIG7 = Experiment(
    title="a random walk",
    claim="A random walk alone shows it: under a cosine learning rate ‖θ‖ falls at the end with λ constant and stays "
    "with λ ∝ γ, as the forecast says.",
    paper="A simulated random walk replicates the behaviour of ‖θ‖ at the end of a cosine.",
    parts=[Part(None, CRITERIA, examine)],
)
