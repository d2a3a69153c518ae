"""The decay that gives a kind of layers a wanted RMS at steady state."""

import math
from dataclasses import dataclass
from typing import final

from steadydecay import theory
from steadydecay.forecasting.layer_kinds import LayerKind
from steadydecay.forecasting.trajectories import settings_under
from steadydecay.groups.prediction import predicted_norm_sq, update_norm_sq
from steadydecay.groups.settings import Group
from steadydecay.theory.decay_rules import unchecked_reference_weight_decay
from steadydecay.theory.validation import require_in

# Halvings of a range of η; each brings one binary digit.
BISECTIONS = 60


@final
@dataclass(frozen=True)
class Suggestion:
    """At the peak of the schedule.

    Attributes:
        rms: the one that was wanted.
        decay: η per step.
        weight_decay: λ = η/γ.
        steady_norm_sq: the argument of that name which asks for this η under decay="corrected".
        time_constant: steps in which the squared norm forgets.
    """

    rms: float
    decay: float
    weight_decay: float
    steady_norm_sq: float
    time_constant: float


def suggestion_for(kind: LayerKind, wanted_rms: float) -> Suggestion | None:
    """What gives the kind this RMS at the steady state of its peak; None where one update alone is larger.

    Raises:
        ValueError: wanted_rms not above 0.
    """
    require_in("wanted_rms", wanted_rms, 0, remedy="it is the root mean square of a layer's weights")
    settings = {**settings_under("constant", kind), "steady_norm_sq": None}
    wanted_norm_sq = wanted_rms**2 * kind.entries
    lr = float(settings["lr"])
    one_update_sq = lr**2 * update_norm_sq(settings, kind.shape, kind.optimizer)
    if wanted_norm_sq <= one_update_sq:
        return None
    decay = _decay_for(kind, settings, wanted_norm_sq, one_update_sq)
    start = kind.optimizer.of(settings)
    return Suggestion(
        rms=wanted_rms,
        decay=decay,
        weight_decay=decay / lr,
        # λ ∝ 1/S under "corrected".
        steady_norm_sq=unchecked_reference_weight_decay(1.0, lr, start, "corrected") / (decay / lr),
        time_constant=theory.time_constant(decay),
    )


def _decay_for(kind: LayerKind, settings: Group, wanted_norm_sq: float, one_update_sq: float) -> float:
    """η at which the steady ‖θ‖² is the wanted one; a layer may hold blocks with LMOs of their own."""
    lr = float(settings["lr"])
    # S ≥ γ²/(2η) for any momentum and LMO, so that the norm is too large at the low end; at η = 1 it is one update.
    low, high = min(0.5, one_update_sq / (2 * wanted_norm_sq)), 1.0
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        norm_sq = predicted_norm_sq({**settings, "weight_decay": middle / lr}, kind.shape, kind.optimizer)
        low, high = (middle, high) if norm_sq > wanted_norm_sq else (low, middle)
    return low
