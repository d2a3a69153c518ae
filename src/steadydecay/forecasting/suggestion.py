"""Find the decay that gives a kind of layers a desired RMS: at the steady state, and at the end of a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from steadydecay import theory
from steadydecay.forecasting.end_decay import end_decay_for
from steadydecay.forecasting.layer_kinds import LayerKind
from steadydecay.forecasting.trajectories import settings_under
from steadydecay.groups.prediction import predicted_norm_sq, update_norm_sq
from steadydecay.groups.settings import Group
from steadydecay.theory import MomentumFilter
from steadydecay.theory.decay_rules import unchecked_reference_weight_decay
from steadydecay.theory.steady_state import lr_sq_over_norm_sq
from steadydecay.theory.validation import require_in

# The number of bisections of a range of η, each of which adds one binary digit.
BISECTIONS = 60


@final
@dataclass(frozen=True)
class Suggestion:
    """A suggested decay, at the peak of the schedule.

    Attributes:
        rms: The desired RMS.
        decay: η per step.
        weight_decay: λ = η/γ.
        steady_norm_sq: The argument of this name that asks for this η under the rule ("corrected" for a steady state).
        time_constant: The number of steps in which the squared norm forgets.
    """

    rms: float
    decay: float
    weight_decay: float
    steady_norm_sq: float
    time_constant: float


def suggestion_for(kind: LayerKind, wanted_rms: float) -> Suggestion | None:
    """Return what gives the kind this RMS at the steady state of its peak, or None if a single update is larger.

    Raises:
        ValueError: wanted_rms is not above 0.
    """
    require_wanted(wanted_rms)
    settings = {**settings_under("constant", kind), "steady_norm_sq": None}
    wanted_norm_sq = wanted_rms**2 * kind.entries
    one_update_sq = float(settings["lr"]) ** 2 * update_norm_sq(settings, kind.shape, kind.optimizer)
    if wanted_norm_sq <= one_update_sq:
        return None
    return _suggestion(kind, wanted_rms, _decay_for(kind, settings, wanted_norm_sq, one_update_sq), "corrected")


def end_suggestion_for(
    kind: LayerKind, rule: str, shares: Sequence[float], wanted_rms: float, steady: Suggestion | None
) -> Suggestion | str:
    """Return what gives the kind this RMS after the last step, or say in words why nothing does.

    Args:
        kind: The kind of layers.
        rule: A key of `theory.DECAY_RULES`.
        shares: The learning rate of each step as a share of the peak.
        wanted_rms: The desired RMS, > 0.
        steady: `suggestion_for` the same RMS, which is a good starting point.
    """
    near = 0.5 if steady is None else steady.decay
    decay = end_decay_for(kind, rule, shares, wanted_rms**2 * kind.entries, near)
    return decay if isinstance(decay, str) else _suggestion(kind, wanted_rms, decay, rule)


def require_wanted(wanted_rms: float) -> None:
    """Raise ValueError unless wanted_rms is above 0."""
    require_in("wanted_rms", wanted_rms, 0, remedy="it is the root mean square of a layer's weights")


def _suggestion(kind: LayerKind, wanted_rms: float, decay: float, rule: str) -> Suggestion:
    settings = settings_under("constant", kind)
    lr = float(settings["lr"])
    return Suggestion(
        rms=wanted_rms,
        decay=decay,
        weight_decay=decay / lr,
        steady_norm_sq=_steady_norm_sq(decay, lr, kind.optimizer.of(settings), rule),
        time_constant=theory.time_constant(decay),
    )


def _steady_norm_sq(decay: float, lr: float, start: MomentumFilter, rule: str) -> float:
    """Return the S from which our optimizers derive this η under the rule, which inverts `reference_weight_decay`."""
    if rule == "corrected":
        # λ ∝ 1/S.
        return unchecked_reference_weight_decay(1.0, lr, start, rule) * lr / decay
    return lr**2 * start.scale_sq / lr_sq_over_norm_sq(decay, start)


def _decay_for(kind: LayerKind, settings: Group, wanted_norm_sq: float, one_update_sq: float) -> float:
    """Return η for which the steady ‖θ‖² has the desired value. A layer may have blocks with LMOs of their own."""
    lr = float(settings["lr"])
    # S ≥ γ²/(2η) for any momentum and LMO, so the norm is too large at the low end. At η = 1 it is one update.
    low, high = min(0.5, one_update_sq / (2 * wanted_norm_sq)), 1.0
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        norm_sq = predicted_norm_sq({**settings, "weight_decay": middle / lr}, kind.shape, kind.optimizer)
        low, high = (middle, high) if norm_sq > wanted_norm_sq else (low, middle)
    return low
