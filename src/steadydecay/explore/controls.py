"""The sliders and choices of each part. The first part's defaults are the worked example of `reproduce seed003`."""

from collections.abc import Iterable, Sequence

import marimo as mo

from steadydecay.experiments.adam_steps import EXAMPLE
from steadydecay.explore.norm_part import LMOS
from steadydecay.schedules.shapes import SHAPES
from steadydecay.theory import DECAY_RULES


def adam_controls() -> mo.ui.dictionary:
    """Return the controls for θ, g, γ, λ, β₁ and β₂ of one step."""
    weight, gradient, settings = EXAMPLE
    return mo.ui.dictionary(
        {
            "weight": _slider("weight θ", (0.05, 0.1, 0.2, 0.4, 0.8, 1.6), weight),
            "gradient": _slider("gradient g", (-0.1, -0.01, 0, 0.001, 0.003, 0.01, 0.03, 0.1), gradient),
            "lr": _slider("learning rate γ", (3e-5, 1e-4, 3e-4, 1e-3, 3e-3), settings.lr),
            "weight_decay": _slider("weight decay λ", (0, 0.01, 0.03, 0.1, 0.3, 1), settings.weight_decay),
            "beta1": _slider("β₁", (0, 0.5, 0.8, 0.9, 0.95, 0.99), settings.beta1),
            "beta2": _slider("β₂", (0.5, 0.9, 0.95, 0.98, 0.99, 0.999), settings.beta2),
        }
    )


def norm_controls() -> mo.ui.dictionary:
    """Return the controls for the fields of `norm_part.NormPlan`, with the README GPT's lr, decay and momentum."""
    return mo.ui.dictionary(
        {
            "shape": _choice("learning rate schedule", SHAPES, "cosine"),
            "rule": _choice("decay rule", DECAY_RULES, "constant"),
            "lmo": _choice("update (LMO)", LMOS, "Spectral 32×32"),
            "lr": _slider("peak learning rate γ", (0.003, 0.01, 0.03, 0.1), 0.03),
            "weight_decay": _slider("weight decay λ", (0.05, 0.1, 0.2, 0.5, 1, 2), 0.5),
            "momentum": _slider("momentum β", (0, 0.5, 0.8, 0.9, 0.95, 0.98), 0.9),
            "steps": _slider("steps", (100, 200, 500, 1000), 500),
            "nesterov": mo.ui.checkbox(label="Nesterov"),
        }
    )


def momentum_controls() -> mo.ui.dictionary:
    """Return the controls for γ, β, Nesterov momentum and the shape of the effective learning rate."""
    return mo.ui.dictionary(
        {
            "lr": _slider("learning rate γ", (0.001, 0.003, 0.01, 0.03, 0.1), 0.01),
            "momentum": _slider("momentum β", (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99), 0.9),
            "shape": _choice("shape of γ<sub>eff</sub>", SHAPES, "cosine"),
            "nesterov": mo.ui.checkbox(label="Nesterov"),
        }
    )


def _slider(label: str, steps: Sequence[float], value: float) -> mo.ui.slider:
    return mo.ui.slider(steps=steps, value=value, label=label, show_value=True, full_width=True)


def _choice(label: str, options: Iterable[str], value: str) -> mo.ui.dropdown:
    return mo.ui.dropdown(list(options), value, label=label, full_width=True)
