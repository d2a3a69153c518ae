"""The numbers of one layer or of several together, and the measures computed from them. This does not import torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

MEASURES = (
    "weight_norm",
    "weight_rms",
    "gradient_norm",
    "momentum_norm",
    "update_norm",
    "update_cosine",
    "parallel_share",
    "perpendicular_share",
    "rotation",
    "tuc",
    "spectral_norm",
    "spectral_geometric_mean",
    "sign_norm",
    "predicted_norm",
    "predicted_norm_measured",
    "norm_ratio",
    "predicted_norm_at_peak",
    "norm_ratio_at_peak",
    "time_constants",
    "drift",
    "lr",
    "decay",
    "effective_lr",
)
# The squared ratio of an update to the largest rounding error from which on it counts as measured.
RESOLUTION_SQ = 10**2


@final
@dataclass
class Numbers:
    """The numbers of one layer, or of several together (`together`). None stands for what does not exist.

    θ is the weight, and -γu is what the step added besides the decay η.

    Attributes:
        size: The number of entries.
        before_sq, after_sq: ‖θ‖² before and after the step.
        kept_sq: (1-η)‖θ‖² with θ before the step.
        added_sq, inner: ‖γu‖² and ⟨θ, -γu⟩ with θ before the step.
        rounding_sq: What rounding the weights may have added to ‖γu‖²; 0 if no step was taken.
        gradient_sq, momentum_sq: ‖g‖² and ‖m‖².
        contribution: All that one minibatch adds to the weights, in units of an update.
        spectral_norms: σ_max of each matrix.
        sign_norm: d_in · max|w|.
        predicted_sq, predicted_measured_sq: ‖θ‖² at the steady state, by theory alone and with the measured ‖u‖².
        at_peak_sq: ‖θ‖² at the steady state by theory, at the peak of the schedule.
        time_constants: The number of time constants that have passed, Σ 2η.
        drift: The relative change of ‖θ‖ per time constant.
    """

    size: int
    before_sq: float
    after_sq: float
    kept_sq: float
    added_sq: float
    inner: float
    rounding_sq: float = 0.0
    gradient_sq: float | None = None
    momentum_sq: float | None = None
    contribution: float | None = None
    spectral_norms: list[float] = field(default_factory=list)
    sign_norm: float | None = None
    predicted_sq: float | None = None
    predicted_measured_sq: float | None = None
    at_peak_sq: float | None = None
    time_constants: float = 0.0
    drift: float | None = None

    @property
    def is_update_resolved(self) -> bool:
        """Whether the update is so far above the rounding error that its norm is right to 1 %."""
        return self.rounding_sq == 0 or self.added_sq >= RESOLUTION_SQ * self.rounding_sq


def together(parts: Sequence[Numbers]) -> Numbers:
    """Combine layers into one vector, with the shortest time and with contributions and drifts averaged by ‖θ‖²."""
    return Numbers(
        size=sum(one.size for one in parts),
        before_sq=sum(one.before_sq for one in parts),
        after_sq=sum(one.after_sq for one in parts),
        kept_sq=sum(one.kept_sq for one in parts),
        added_sq=sum(one.added_sq for one in parts),
        inner=sum(one.inner for one in parts),
        rounding_sq=sum(one.rounding_sq for one in parts),
        gradient_sq=_sum_of_known([one.gradient_sq for one in parts]),
        momentum_sq=_sum_of_known([one.momentum_sq for one in parts]),
        contribution=_mean([(one.contribution, one.after_sq) for one in parts]),
        spectral_norms=[norm for one in parts for norm in one.spectral_norms],
        sign_norm=max((one.sign_norm for one in parts if one.sign_norm is not None), default=None),
        predicted_sq=_sum_of_all([one.predicted_sq for one in parts]),
        predicted_measured_sq=_sum_of_all([one.predicted_measured_sq for one in parts]),
        at_peak_sq=_sum_of_all([one.at_peak_sq for one in parts]),
        time_constants=min(one.time_constants for one in parts),
        drift=_mean([(one.drift, one.after_sq) for one in parts]),
    )


def measures_of(n: Numbers) -> dict[str, float]:
    """Return every measure that exists, by name. docs/monitor.md explains each of them."""
    norm = math.sqrt(n.after_sq)
    is_resolved = n.is_update_resolved
    found: dict[str, float | None] = {
        "weight_norm": norm,
        "weight_rms": math.sqrt(n.after_sq / n.size),
        "gradient_norm": _root(n.gradient_sq),
        "momentum_norm": _root(n.momentum_sq),
        "update_norm": math.sqrt(n.added_sq) if is_resolved else None,
        **(_geometry(n) if is_resolved else {}),
        "tuc": n.contribution,
        "spectral_norm": max(n.spectral_norms, default=None),
        "sign_norm": n.sign_norm,
        "predicted_norm": _root(n.predicted_sq),
        "predicted_norm_measured": _root(n.predicted_measured_sq) if is_resolved else None,
        "norm_ratio": norm / math.sqrt(n.predicted_sq) if n.predicted_sq else None,
        "predicted_norm_at_peak": _root(n.at_peak_sq),
        "norm_ratio_at_peak": norm / math.sqrt(n.at_peak_sq) if n.at_peak_sq else None,
        "time_constants": n.time_constants,
        "drift": n.drift,
    }
    return {name: value for name, value in found.items() if value is not None}


def geometric_mean(values: Sequence[float]) -> float | None:
    """Return the geometric mean, by logarithms, so that a thousand factors cannot overflow; 0 or NaN if a value is.

    >>> geometric_mean([1e300, 1e-300, 1.0]), geometric_mean([0.0, 3.0]), geometric_mean([])
    (1.0, 0.0, None)
    """
    if not values:
        return None
    if any(map(math.isnan, values)):
        return math.nan
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if min(values) > 0 else 0.0


def _geometry(n: Numbers) -> dict[str, float | None]:
    """Return the geometry of update and weight. u opposes what was added, so a positive cosine means that θ shrinks."""
    if not n.before_sq > 0:
        return {}
    # The perpendicular part is a difference, so rounding may bring it below 0.
    beside_sq = max(0.0, n.added_sq - n.inner * n.inner / n.before_sq)
    rotation = math.atan2(math.sqrt(beside_sq * n.before_sq), n.kept_sq + n.inner)
    if not 0 < n.added_sq < math.inf:
        return {"rotation": rotation}
    share = min(1.0, n.inner * n.inner / (n.before_sq * n.added_sq))
    return {
        "update_cosine": -n.inner / math.sqrt(n.before_sq * n.added_sq),
        "parallel_share": share,
        "perpendicular_share": 1 - share,
        "rotation": rotation,
    }


def _root(square: float | None) -> float | None:
    return None if square is None else math.sqrt(square)


def _sum_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _sum_of_all(values: Sequence[float | None]) -> float | None:
    return None if None in values else _sum_of_known(values)


def _mean(pairs: Sequence[tuple[float | None, float]]) -> float | None:
    known = [(value, weight) for value, weight in pairs if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None
