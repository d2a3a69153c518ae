"""How the weight norm behaves under decoupled weight decay: functions of plain numbers, which do not import torch."""

from collections.abc import Callable
from typing import Any

from steadydecay.public_names import HOMES_ABOVE_THEORY, loaded
from steadydecay.theory.decay_rules import DECAY_RULES, Reference, decay, reference_weight_decay, weight_decay
from steadydecay.theory.filters import Momentum, MomentumFilter, exponential_average, lion_average, nesterov_average
from steadydecay.theory.lmo_correlation import Lmo, correlation, power_series
from steadydecay.theory.norm_forecast import forecast
from steadydecay.theory.steady_state import (
    decay_for_norm,
    effective_lr,
    momentum_for,
    perpendicular_share,
    steady_norm_sq,
    time_constant,
)

__all__ = [
    "DECAY_RULES",
    "Lmo",
    "Momentum",
    "MomentumFilter",
    "Reference",
    "correlation",
    "decay",
    "decay_for_norm",
    "effective_lr",
    "exponential_average",
    "forecast",
    "lion_average",
    "momentum_for",
    "nesterov_average",
    "perpendicular_share",
    "power_series",
    "reference_weight_decay",
    "simulate",
    "steady_norm_sq",
    "time_constant",
    "weight_decay",
]

# It lives above this room, and so does its signature: `steadydecay.simulation.random_walk.simulate`.
simulate: Callable[..., list[float]]


def __getattr__(name: str) -> Any:
    """Load names that live above the theory on first use."""
    return loaded(name, HOMES_ABOVE_THEORY, __name__)
