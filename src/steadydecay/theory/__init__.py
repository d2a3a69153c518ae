"""Numbers in, numbers out: what the weight norm does under decoupled weight decay. Imports no torch."""

from typing import TYPE_CHECKING, Any

from steadydecay.theory.adam import AdamMoments, AdamSettings, AdamStep, adam_l2_step, adam_path, adamw_step
from steadydecay.theory.correlation import Lmo, correlation, power_series
from steadydecay.theory.decay_rules import DECAY_RULES, Reference, decay, reference_weight_decay, weight_decay
from steadydecay.theory.filters import Momentum, MomentumFilter, exponential_average, lion_average, nesterov_average
from steadydecay.theory.forecast import forecast
from steadydecay.theory.steady_state import (
    decay_for_norm,
    effective_lr,
    momentum_for,
    perpendicular_share,
    steady_norm_sq,
    time_constant,
)

if TYPE_CHECKING:
    from steadydecay.simulation import simulate

__all__ = [
    "DECAY_RULES",
    "AdamMoments",
    "AdamSettings",
    "AdamStep",
    "Lmo",
    "Momentum",
    "MomentumFilter",
    "Reference",
    "adam_l2_step",
    "adam_path",
    "adamw_step",
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


def __getattr__(name: str) -> Any:
    """`simulate` drives a torch optimizer, so it loads on first use."""
    if name == "simulate":
        from steadydecay.simulation import simulate

        return simulate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
