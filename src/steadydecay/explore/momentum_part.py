"""Momentum and the effective learning rate: what momentum adds, and schedules in which it carries a shape."""

from itertools import accumulate

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from steadydecay.explore.chart import Line, chart, laid_out, traced
from steadydecay.schedules.effective_lr import Via, lr_and_momentum
from steadydecay.schedules.shapes import share_at
from steadydecay.theory import effective_lr
from steadydecay.theory.filters import momentum_filter

MOMENTA = [step / 100 for step in range(100)]
LATER_STEPS = 60
STEPS = 200
CARRIERS: dict[Via, str] = {"lr": "by learning rate", "momentum": "by momentum", "both": "by both"}
EFFECTIVE = "γ<sub>eff</sub>"


def effective_lr_figure(lr: float, momentum: float, nesterov: bool) -> go.Figure:
    """Show γ_eff against β for plain and for Nesterov momentum, and where the controls are."""
    lines = [
        Line(name, MOMENTA, [effective_lr(lr, beta, ahead) for beta in MOMENTA], style)
        for style, (name, ahead) in enumerate({"average": False, "Nesterov": True}.items())
    ]
    chosen = effective_lr(lr, momentum, nesterov)
    name = f"{EFFECTIVE} = {chosen:.3g} = {chosen / lr:.3g} γ"
    lines.append(Line(name, [momentum], [chosen], style=2, mode="markers"))
    return chart(lines, "momentum β", f"effective learning rate {EFFECTIVE}")


def contribution_figure(lr: float, momentum: float, nesterov: bool) -> go.Figure:
    """Show what one minibatch has added to the weights k steps later. In the end it is γ_eff, however it is spread."""
    chosen = effective_lr(lr, momentum, nesterov)
    response = momentum_filter(momentum, nesterov).impulse_response(LATER_STEPS)
    later = range(LATER_STEPS)
    lines = [
        Line("with momentum", later, [chosen * share for share in accumulate(response)], 0),
        Line(f"its limit, {EFFECTIVE}", later, [chosen] * LATER_STEPS, 1),
        Line("without momentum, γ", later, [lr] * LATER_STEPS, 2),
    ]
    return chart(lines, "steps after the minibatch", "what it has added so far")


def schedule_figure(lr: float, momentum: float, nesterov: bool, shape: str) -> go.Figure:
    """Show one shape of γ_eff carried in three ways, with γ_eff, γ and β at each step."""
    figure = make_subplots(3, 1, shared_xaxes=True, vertical_spacing=0.05)
    steps = list(range(STEPS))
    for style, (via, name) in enumerate(CARRIERS.items()):
        pairs = [lr_and_momentum(share_at(shape, step, STEPS), lr, momentum, nesterov, via) for step in steps]
        series = (
            [effective_lr(lr_now, beta, nesterov) for lr_now, beta in pairs],
            [lr_now for lr_now, _ in pairs],
            [beta for _, beta in pairs],
        )
        for row, values in enumerate(series, 1):
            trace = traced(Line(name, steps, values, style)).update(legendgroup=name, showlegend=row == 1)
            figure.add_trace(trace, row=row, col=1)
    for row, title in enumerate((EFFECTIVE, "learning rate γ", "momentum β"), 1):
        figure.update_yaxes(title=title, rangemode="tozero", row=row, col=1)
    return laid_out(figure, height=560).update_xaxes(title="step", row=3, col=1)
