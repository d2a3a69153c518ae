"""The weight norm under a schedule: its forecast and a simulation of it in one figure."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from steadydecay.explore.chart import Line, laid_out, traced
from steadydecay.schedules.shapes import share_at
from steadydecay.theory import Lmo, Reference, decay, forecast, simulate, steady_norm_sq

# Descriptions that a reader can choose, and theory's names for them.
LMOS: dict[str, Lmo] = {
    "RMS of a long vector": "linear",
    "Sign": "sign",
    "rows of 16": ("vector", 16),
    "Spectral 32×32": ("spectral", 32, 32),
    "Spectral 16×64": ("spectral", 16, 64),
}
# The number of entries of the simulation: its noise is 2 % of the squared norm, and it takes about a second.
DIMENSION = 4096
SIMULATED_MARKS = 25
STEADY_POINTS = 100


class NormPlan(NamedTuple):
    """What the reader has chosen.

    Attributes:
        shape: The shape of the learning rate, a key of `steadydecay.schedules.shapes.SHAPES`.
        rule: The decay rule, a key of `steadydecay.theory.DECAY_RULES`.
        lmo: A key of `LMOS`.
        lr, weight_decay: γ and λ at the peak.
        momentum, nesterov: β, and whether it is Nesterov momentum.
        steps: The number of steps of the run.
    """

    shape: str
    rule: str
    lmo: str
    lr: float
    weight_decay: float
    momentum: float
    nesterov: bool
    steps: int


def norm_figure(plan: NormPlan) -> go.Figure:
    """Draw ‖θ‖/‖u‖ on top, and γ and η as shares of their peaks below."""
    lrs, decays = lr_and_decay(plan)
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.72, 0.28])
    for line in norm_lines(plan, lrs, decays):
        figure.add_trace(traced(line), row=1, col=1)
    steps = range(1, plan.steps + 1)
    # The solid line comes first, because under a constant λ the two coincide.
    for style, name, values in ((5, "decay η", decays), (4, "learning rate γ", lrs)):
        figure.add_trace(traced(Line(f"{name} ÷ its peak", steps, _shares(values), style)), row=2, col=1)
    figure.update_yaxes(title="‖θ‖ ÷ ‖update‖", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="÷ peak", rangemode="tozero", row=2, col=1)
    return laid_out(figure, height=560).update_xaxes(title="step", row=2, col=1)


def lr_and_decay(plan: NormPlan) -> tuple[list[float], list[float]]:
    """Return γ and η of each step."""
    reference = Reference(plan.lr, plan.weight_decay, plan.momentum)
    lrs = [plan.lr * share_at(plan.shape, step, plan.steps) for step in range(plan.steps)]
    return lrs, [decay(lr, plan.momentum, plan.nesterov, reference, plan.rule) for lr in lrs]


def norm_lines(plan: NormPlan, lrs: Sequence[float], decays: Sequence[float]) -> list[Line]:
    """Return the forecast, the simulation, the steady state of each step, and the forecast under a constant λ."""
    steps, lmo = range(1, plan.steps + 1), LMOS[plan.lmo]
    lines = [Line("forecast", steps, _roots(forecast(lrs, decays, plan.momentum, nesterov=plan.nesterov, lmo=lmo)), 0)]
    every = max(1, plan.steps // SIMULATED_MARKS)
    simulated = _roots(simulate(lrs, decays, plan.momentum, nesterov=plan.nesterov, lmo=lmo, dim=DIMENSION))
    lines.append(Line("simulation", steps[every - 1 :: every], simulated[every - 1 :: every], 1, mode="markers"))
    lines.append(_steady_line(plan, lrs, decays))
    if plan.rule != "constant":
        constant = lr_and_decay(plan._replace(rule="constant"))
        falling = _roots(forecast(*constant, plan.momentum, nesterov=plan.nesterov, lmo=lmo))
        lines.append(Line("forecast, constant λ", steps, falling, 3))
    return lines


def _steady_line(plan: NormPlan, lrs: Sequence[float], decays: Sequence[float]) -> Line:
    every = max(1, plan.steps // STEADY_POINTS)
    # At a learning rate of 0 nothing moves, so no norm is steady.
    steps = [step for step in range(0, plan.steps, every) if decays[step] > 0]
    steady = [
        steady_norm_sq(lrs[step], decays[step], plan.momentum, nesterov=plan.nesterov, lmo=LMOS[plan.lmo])
        for step in steps
    ]
    return Line("steady state of that step", [step + 1 for step in steps], _roots(steady), 2)


def _roots(squares: Sequence[float]) -> list[float]:
    return [math.sqrt(square) for square in squares]


def _shares(values: Sequence[float]) -> list[float]:
    peak = max(values)
    return [value / peak if peak else 0.0 for value in values]
