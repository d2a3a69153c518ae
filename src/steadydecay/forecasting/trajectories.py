"""The norm of a kind of layers during training, forecast for any decay rule and with measured update norms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np
import torch

from steadydecay import theory
from steadydecay.forecasting.layer_kinds import LayerKind
from steadydecay.groups.prediction import applied_decay, predicted_norm_sq, update_blocks, update_norm_sq
from steadydecay.groups.settings import Group, decay_of, with_references
from steadydecay.theory import MomentumFilter
from steadydecay.theory.bias_correction import bias_corrected_size

# The number of time constants after which e⁻³, or 5 %, of the initial squared norm is left.
SETTLED_AFTER = 3.0


@final
@dataclass(frozen=True)
class Trajectory:
    """√E‖θ‖² of one layer of a kind.

    Attributes:
        rule: The rule that is applied, a key of `theory.DECAY_RULES`; "constant" for an output layer.
        norms: The norms after 0, 1, ..., steps steps.
        decays: η of each step.
        steady_norm: The norm at the steady state of the peak. It is infinite without decay.
        time_constant: The number of steps in which the squared norm forgets, at the peak.
        memories: The length of the run in time constants, which may differ from step to step.
        settled_step: The first step at which `SETTLED_AFTER` time constants have passed. None if the run is shorter.
    """

    rule: str
    norms: np.ndarray
    decays: np.ndarray
    steady_norm: float
    time_constant: float
    memories: float
    settled_step: int | None


def forecast_norms(kind: LayerKind, rule: str, shares: Sequence[float]) -> Trajectory:
    """Forecast what a rule does to a kind of layers.

    Args:
        kind: The kind of layers, with settings at the peak.
        rule: A key of `theory.DECAY_RULES`. Layers with the role "output" keep "constant".
        shares: The learning rate of each step as a share of the peak, in [0, 1]. At least one is needed.

    Raises:
        ValueError: The rule is unknown, or settings are outside their range.
    """
    settings = settings_under(rule, kind)
    lr = np.asarray(shares, dtype=np.float64) * float(settings["lr"])
    return _trajectory(kind, settings, lr, _expected_scale(kind, settings, len(lr)))


def norms_from_updates(kind: LayerKind, rule: str, shares: Sequence[float], update_norms: np.ndarray) -> Trajectory:
    """Forecast as `forecast_norms` does, but with the measured ‖u‖ of each step instead of that of an ideal LMO.

    Args:
        kind, rule, shares: As for `forecast_norms`.
        update_norms: ‖u‖_F of one layer for each step, where θ ← (1-η)θ - γu. Its correlation is that of theory.
    """
    settings = settings_under(rule, kind)
    lr = np.asarray(shares, dtype=np.float64) * float(settings["lr"])
    expected = math.sqrt(update_norm_sq(settings, kind.shape, kind.optimizer))
    return _trajectory(kind, settings, lr, np.asarray(update_norms) / expected)


def settings_under(rule: str, kind: LayerKind) -> Group:
    """Return the kind's settings with every reference, as an optimizer would have them under this rule."""
    own = {key: value for key, value in kind.settings.items() if key != "decay"}
    return with_references(own, {"decay": rule}, kind.optimizer)


def _trajectory(kind: LayerKind, settings: Group, lr: np.ndarray, update_scale: np.ndarray) -> Trajectory:
    # Decay rules accept floats and tensors. One tensor of all steps is a hundred times faster than floats.
    by_tensor = decay_of({**settings, "lr": torch.from_numpy(lr)}, kind.optimizer)
    decays = np.asarray(by_tensor, dtype=np.float64)
    if kind.steady_shares is not None and settings["decay"] == "corrected":
        # η_t = γ_eff,t²/(2S_t): arXiv 2512.08217, Algorithm 2.
        decays = decays / np.asarray(kind.steady_shares)
    # N_t is linear in N_0, so layers that differ only in N_0 share a forecast.
    forgotten = np.concatenate(([0.0], np.cumsum(2 * np.log1p(-decays))))
    norms_sq = kind.initial_norm_sq * np.exp(forgotten)
    average = kind.optimizer.correlating_filter(settings)
    for lmo, norm_sq in update_blocks(settings, kind.shape, kind.optimizer):
        from_updates = _from_zero(tuple(lr * update_scale), tuple(decays), average, lmo)
        norms_sq[1:] += norm_sq * np.asarray(from_updates)
    settled = np.flatnonzero(-forgotten >= SETTLED_AFTER)
    return Trajectory(
        rule=settings["decay"],
        norms=np.sqrt(norms_sq),
        decays=decays,
        steady_norm=math.sqrt(predicted_norm_sq(settings, kind.shape, kind.optimizer)),
        time_constant=theory.time_constant(applied_decay(settings, kind.optimizer)),
        memories=-float(forgotten[-1]),
        settled_step=int(settled[0]) if settled.size else None,
    )


def _expected_scale(kind: LayerKind, settings: Group, steps: int) -> np.ndarray:
    """Return ‖u‖ of each step relative to its value once Adam's average of gradients is full; others have 1."""
    if kind.optimizer.sized_by != "second moment" or "betas" not in settings:
        return np.ones(steps)
    beta = float(settings["betas"][0])
    return np.array([bias_corrected_size(step, beta) for step in range(1, steps + 1)])


@lru_cache(maxsize=64)
def _from_zero(lr: tuple[float, ...], decay: tuple[float, ...], momentum: MomentumFilter, lmo: Any) -> list[float]:
    """Return E‖θ_t‖²/E‖u‖² after each step, starting from θ = 0."""
    return theory.forecast(lr, decay, momentum, lmo=lmo)
