"""A random walk under a cosine learning rate, λ constant and λ ∝ γ (arXiv 2512.08217, Appendix A, Fig. 7)."""

import math
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from steadydecay.experiments.outcome import Outcome
from steadydecay.report.picture import DASHES, MARKERS
from steadydecay.report.style import style_at
from steadydecay.schedules.shapes import cosine
from steadydecay.theory import Reference, decay, forecast, simulate

CLAIM = (
    "a random walk alone shows it: under a cosine lr the norm falls at the end with λ constant and stays with λ ∝ γ, "
    "as the forecast says"
)
STEPS = 2000
LR = 0.03
WEIGHT_DECAY = 0.5
MOMENTA = (0.0, 0.9)
RULES = {"constant": "λ constant", "corrected": "λ ∝ γ"}
# Of the simulation against the forecast, over the second half of the run; 32 768 entries make a noise of 1 %.
TOLERANCE = 0.02
DIMENSION = 32_768
MARKS = 25
PICTURE_NAME = "fig7.png"


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
        """Norm at the end over its peak, of the forecast."""
        return self.forecast[-1] / max(self.forecast)

    @property
    def deviation(self) -> float:
        """Largest relative difference of the two over the second half."""
        half = len(self.forecast) // 2
        pairs = zip(self.forecast[half:], self.simulated[half:], strict=True)
        return max(abs(simulated / expected - 1) for expected, simulated in pairs)


def fig7(out: Path, steps: int | None = None) -> Outcome:
    """Simulate and forecast the walk with and without momentum, under both rules.

    Args:
        out: an existing folder for the picture.
        steps: of each walk, ≥ 1; by default 2000.
    """
    walks = random_walks(STEPS if steps is None else steps)
    rows = []
    for walk in walks:
        shown = (max(walk.forecast), walk.forecast[-1], walk.simulated[-1], walk.end_share, walk.deviation)
        rows.append((f"{RULES[walk.rule]}, β = {walk.momentum:g}", *(f"{value:.4f}" for value in shown)))
    return Outcome(
        claim=CLAIM,
        columns=("‖θ‖ in updates", "peak", "end", "end, simulated", "end ÷ peak", "largest deviation"),
        rows=rows,
        verdicts=verdicts(walks),
        picture=write_picture(walks, out / PICTURE_NAME),
    )


def random_walks(steps: int, dimension: int = DIMENSION) -> list[Walk]:
    """Each momentum under each rule, on one cosine."""
    lrs = [LR * cosine(step, steps) for step in range(steps)]
    walks = []
    for momentum in MOMENTA:
        reference = Reference(LR, WEIGHT_DECAY, momentum)
        for rule in RULES:
            decays = [decay(lr, momentum, False, reference, rule) for lr in lrs]
            expected = forecast(lrs, decays, momentum)
            simulated = simulate(lrs, decays, momentum, dim=dimension, seed=0)
            walks.append(Walk(momentum, rule, _roots(expected), _roots(simulated)))
    return walks


def verdicts(walks: list[Walk]) -> dict[str, bool]:
    """Each part of the claim."""
    constant = [walk.end_share for walk in walks if walk.rule == "constant"]
    corrected = [walk.end_share for walk in walks if walk.rule == "corrected"]
    return {
        "with λ constant the norm ends below half of its peak": max(constant) < 0.5,
        "with λ ∝ γ it ends within 5 % of its peak": min(corrected) > 0.95,
        f"the simulation is within {TOLERANCE:.0%} of the forecast": max(walk.deviation for walk in walks) < TOLERANCE,
    }


def write_picture(walks: list[Walk], path: Path) -> Path:
    """Forecasts as lines, simulations as points; one panel for each momentum."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = dict(zip(MOMENTA, figure.subplots(1, len(MOMENTA), sharey=False), strict=True))
    for walk in walks:
        axes, style = panels[walk.momentum], style_at(list(RULES).index(walk.rule))
        steps, every = range(1, len(walk.forecast) + 1), max(1, len(walk.forecast) // MARKS)
        axes.plot(steps, walk.forecast, color=style.colour, linestyle=DASHES[style.dash], label=RULES[walk.rule])
        axes.plot(
            steps[::every], walk.simulated[::every], color=style.colour, linestyle="", marker=MARKERS[style.symbol]
        )
    for momentum, axes in panels.items():
        axes.plot([], [], "ko", label="simulated")
        axes.set(title=f"random walk, β = {momentum:g}", xlabel="step", ylabel="‖θ‖ ÷ ‖update‖")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    return path


def _roots(squares: list[float]) -> list[float]:
    return [math.sqrt(square) for square in squares]
