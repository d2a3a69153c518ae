"""What the numbers of a run mean and what to do about it: pure functions that return a finding or None.

The notation is that of `steadydecay.theory`: η is the share of the weight that one step removes, and λ is PyTorch's
weight_decay.
"""

from steadydecay.report.advice.decay_rule import correction_of, decay_exponent, is_corrected
from steadydecay.report.advice.finding import Finding
from steadydecay.report.advice.gradient_rise import gradient_rise
from steadydecay.report.advice.not_finite import not_finite
from steadydecay.report.advice.rounding import rounded_away
from steadydecay.report.advice.steady_state_reached import never_steady, time_constants, unsteady_layers
from steadydecay.report.advice.update_size import update_size

__all__ = [
    "Finding",
    "correction_of",
    "decay_exponent",
    "gradient_rise",
    "is_corrected",
    "never_steady",
    "not_finite",
    "rounded_away",
    "time_constants",
    "unsteady_layers",
    "update_size",
]
