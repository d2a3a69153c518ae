"""AdamW against Adam with L2: the equations with numbers, one step in parts, and decay without a gradient."""

import plotly.graph_objects as go

from steadydecay.experiments.adam_steps import AdamSettings, AdamStep, adam_l2_step, adam_path, adamw_step
from steadydecay.explore.chart import Line, chart, laid_out
from steadydecay.report.style import COLOURS

PATH_STEPS = 4000
STARTS = (1, 4, 16)
# The term by which the two differ: coloured, and boxed for readers who do not see the colour.
MOVED = rf"\textcolor{{{COLOURS[1]}}}{{\boxed{{\lambda\theta}}}}"


def equations(weight: float, gradient: float, settings: AdamSettings) -> tuple[str, str]:
    """Write both updates from zero moments in LaTeX, each line with its number: AdamW's, then Adam-L2's."""
    decoupled, coupled = adamw_step(weight, gradient, settings), adam_l2_step(weight, gradient, settings)
    update = r"\theta &\leftarrow \theta - \gamma\,\frac{m}{\sqrt v + \varepsilon}"
    return (
        _aligned(
            rf"\tilde g &= g = {_number(decoupled.gradient)}",
            *_moments(decoupled),
            rf"{update} - \gamma\,{MOVED}",
            rf"&= {_number(weight)} {_less(decoupled.task_part)} {_less(decoupled.decay_part)}",
            rf"&= \mathbf{{{decoupled.weight:.6f}}}",
        ),
        _aligned(
            rf"\tilde g &= g + {MOVED} = {_number(coupled.gradient)}",
            *_moments(coupled),
            update,
            rf"&= {_number(weight)} {_less(coupled.task_part + coupled.decay_part)}",
            rf"&= \mathbf{{{coupled.weight:.6f}}}",
        ),
    )


def inflation(weight: float, gradient: float, settings: AdamSettings) -> str:
    """Say in a sentence how much larger λθ makes v under Adam-L2."""
    decoupled, coupled = adamw_step(weight, gradient, settings), adam_l2_step(weight, gradient, settings)
    if decoupled.moments.second == 0:
        return "Without a gradient, AdamW's v is 0, so all of Adam-L2's v comes from the decay."
    ratio = coupled.moments.second / decoupled.moments.second
    return f"Under Adam-L2, v is **{ratio:.4g} times** as large. Later gradients are divided by its square root."


def step_figure(weight: float, gradient: float, settings: AdamSettings) -> go.Figure:
    """Show how much one step removes from the weight, and how much of that is decay."""
    steps = [adamw_step(weight, gradient, settings), adam_l2_step(weight, gradient, settings)]
    names = ["AdamW", "Adam-L2"]
    parts = {"gradient": [step.task_part for step in steps], "decay": [step.decay_part for step in steps]}
    figure = go.Figure(
        [
            go.Bar(
                y=names,
                x=sizes,
                name=name,
                orientation="h",
                marker={"color": COLOURS[index], "pattern": {"shape": ("", "/")[index], "solidity": 0.5}},
            )
            for index, (name, sizes) in enumerate(parts.items())
        ]
    )
    figure.update_layout(barmode="relative")
    laid_out(figure, height=240).update_layout(hovermode="y unified")
    return figure.update_xaxes(title="removed from θ in this step").update_yaxes(autorange="reversed")


def decay_figure(weight: float, settings: AdamSettings) -> go.Figure:
    """Show weights of three sizes without a gradient, each as a share of its start."""
    gradients = [0.0] * PATH_STEPS
    steps = range(PATH_STEPS + 1)
    lines = [Line("AdamW, any weight", steps, _shares(adam_path(adamw_step, weight, gradients, settings)), style=0)]
    for style, divisor in enumerate(STARTS, 1):
        start = weight / divisor
        shares = _shares(adam_path(adam_l2_step, start, gradients, settings))
        lines.append(Line(f"Adam-L2 from {start:.3g}", steps, shares, style))
    return chart(lines, "steps with g = 0", "remaining share of the weight")


def _shares(path: list[float]) -> list[float]:
    return [weight / path[0] for weight in path]


def _moments(step: AdamStep) -> tuple[str, str]:
    first, second = step.moments
    return (
        rf"m &= (1-\beta_1)\,\tilde g = {_number(first)}",
        rf"v &= (1-\beta_2)\,\tilde g^2 = {_number(second)}",
    )


def _aligned(*lines: str) -> str:
    return r"\[\begin{aligned}" + r"\\[.3em] ".join(lines) + r"\end{aligned}\]"


def _less(value: float) -> str:
    return f"{'-' if value >= 0 else '+'} {_number(abs(value))}"


def _number(value: float) -> str:
    """Format a number with three digits, as LaTeX.

    >>> _number(0.000134164), _number(0.4), _number(0.0)
    ('1.34\\\\times 10^{-4}', '0.4', '0')
    """
    if value == 0 or 0.00099 < abs(value) < 1000:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return rf"{float(mantissa):g}\times 10^{{{int(exponent)}}}"
