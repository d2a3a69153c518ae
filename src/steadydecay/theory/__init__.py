"""Numbers in, numbers out: what the weight norm does under decoupled weight decay. Imports no torch."""

from steadydecay.theory.decay_rules import DECAY_RULES, Reference, decay, reference_weight_decay, weight_decay
from steadydecay.theory.filters import Momentum, MomentumFilter, exponential_average, lion_average, nesterov_average
from steadydecay.theory.steady_state import (
    decay_for_norm,
    effective_lr,
    momentum_for,
    steady_norm_sq,
    time_constant,
)

__all__ = [
    "DECAY_RULES",
    "Momentum",
    "MomentumFilter",
    "Reference",
    "decay",
    "decay_for_norm",
    "effective_lr",
    "exponential_average",
    "lion_average",
    "momentum_for",
    "nesterov_average",
    "reference_weight_decay",
    "steady_norm_sq",
    "time_constant",
    "weight_decay",
]
