"""The weight norm under a schedule: its forecast and a simulation of the same, drawn together."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from steadydecay.explore.chart import Line, laid_out, traced
from steadydecay.schedules.shapes import share_at
from steadydecay.theory import Lmo, Reference, decay, forecast, simulate, steady_norm_sq

# What theory calls them, by what a person would choose.
LMOS: dict[str, Lmo] = {
    "RMS of a long vector": "linear",
    "Sign": "sign",
    "rows of 16": ("vector", 16),
    "Spectral 32×32": ("spectral", 32, 32),
    "Spectral 16×64": ("spectral", 16, 64),
}
# Entries of the simulation: its noise is 2 % of the norm's square, and a second is enough for it.
DIMENSION = 4096
SIMULATED_MARKS = 25
STEADY_POINTS = 100


class NormPlan(NamedTuple):
    """What a person chooses.

    Attributes:
        shape: of the lr, a key of `steadydecay.schedules.shapes.SHAPES`.
        rule: of the decay, a key of `steadydecay.theory.DECAY_RULES`.
        lmo: a key of `LMOS`.
        lr, weight_decay: γ and λ at the peak.
        momentum, nesterov: β, and whether it looks ahead.
        steps: length of the run.
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
    """‖θ‖/‖u‖ above, γ and η below, as shares of their peaks."""
    lrs, decays = lr_and_decay(plan)
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.72, 0.28])
    for line in norm_lines(plan, lrs, decays):
        figure.add_trace(traced(line), row=1, col=1)
    steps = range(1, plan.steps + 1)
    # The solid line first: under a constant λ the two are one.
    for style, name, values in ((5, "decay η", decays), (4, "lr γ", lrs)):
        figure.add_trace(traced(Line(f"{name} ÷ its peak", steps, _shares(values), style)), row=2, col=1)
    figure.update_yaxes(title="‖θ‖ in updates", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="÷ peak", rangemode="tozero", row=2, col=1)
    return laid_out(figure, height=560).update_xaxes(title="step", row=2, col=1)


def lr_and_decay(plan: NormPlan) -> tuple[list[float], list[float]]:
    """γ and η of each step."""
    reference = Reference(plan.lr, plan.weight_decay, plan.momentum)
    lrs = [plan.lr * share_at(plan.shape, step, plan.steps) for step in range(plan.steps)]
    return lrs, [decay(lr, plan.momentum, plan.nesterov, reference, plan.rule) for lr in lrs]


def norm_lines(plan: NormPlan, lrs: Sequence[float], decays: Sequence[float]) -> list[Line]:
    """The forecast, the simulation, the steady state of each step, and what other assumptions would forecast."""
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
    # At lr 0 nothing moves, and no norm is steady.
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
