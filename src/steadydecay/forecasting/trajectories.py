"""The norm of a kind of layers over training: forecast for any decay rule, and with update norms that were measured."""

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
from steadydecay.theory.bias_correction import bias_corrected_norm_sq

# Time constants after which e⁻³, 5 % of what the squared norm was at the start, is left.
SETTLED_AFTER = 3.0
# What is left of β^t when Adam's average of gradients counts as full.
FULL_AVERAGE = 1e-12


@final
@dataclass(frozen=True)
class Trajectory:
    """√E‖θ‖² of one layer of a kind.

    Attributes:
        rule: a key of `theory.DECAY_RULES`; what is applied, so "constant" for an output layer.
        norms: after 0, 1, ..., steps steps.
        decays: η of each step.
        steady_norm: at the steady state of the peak; infinite without decay.
        time_constant: steps in which the squared norm forgets, at the peak.
        memories: length of the run in time constants, as they are at each step.
        settled_step: first step at which `SETTLED_AFTER` time constants have passed; None if the run is shorter.
    """

    rule: str
    norms: np.ndarray
    decays: np.ndarray
    steady_norm: float
    time_constant: float
    memories: float
    settled_step: int | None


def forecast_norms(kind: LayerKind, rule: str, shares: Sequence[float]) -> Trajectory:
    """What a rule does to a kind of layers.

    Args:
        kind: whose settings stand at the peak.
        rule: a key of `theory.DECAY_RULES`; layers with the role "output" keep "constant".
        shares: lr of each step as a share of the peak, in [0, 1]; at least one.

    Raises:
        ValueError: an unknown rule, or settings outside their range.
    """
    settings = settings_under(rule, kind)
    lr = np.asarray(shares, dtype=np.float64) * float(settings["lr"])
    return _trajectory(kind, settings, lr, None)


def norms_from_updates(kind: LayerKind, rule: str, shares: Sequence[float], update_norms: np.ndarray) -> Trajectory:
    """As `forecast_norms`, with ‖u‖ of each step as it was measured instead of what an ideal LMO gives.

    Args:
        update_norms: ‖u‖_F of one layer, θ ← (1-η)θ - γu, for each step; its correlation is still the theory's.
    """
    settings = settings_under(rule, kind)
    lr = np.asarray(shares, dtype=np.float64) * float(settings["lr"])
    expected = math.sqrt(update_norm_sq(settings, kind.shape, kind.optimizer))
    return _trajectory(kind, settings, lr, np.asarray(update_norms) / expected)


def settings_under(rule: str, kind: LayerKind) -> Group:
    """The kind's settings with every reference, as an optimizer would have them under this rule."""
    own = {key: value for key, value in kind.settings.items() if key != "decay"}
    return with_references(own, {"decay": rule}, kind.optimizer)


def _trajectory(kind: LayerKind, settings: Group, lr: np.ndarray, update_scale: np.ndarray | None) -> Trajectory:
    """With the size of each update as a share of the expected one; None for that one."""
    # Decay rules take floats and tensors; one tensor of all steps is a hundred times faster than as many floats.
    by_tensor = decay_of({**settings, "lr": torch.from_numpy(lr)}, kind.optimizer)
    decays = np.asarray(by_tensor, dtype=np.float64)
    # N_t is linear in N_0, so that layers that differ in it alone share a forecast.
    forgotten = np.concatenate(([0.0], np.cumsum(2 * np.log1p(-decays))))
    norms_sq = kind.initial_norm_sq * np.exp(forgotten)
    average = kind.optimizer.correlating_filter(settings)
    scaled_lr = lr if update_scale is None else lr * update_scale
    for lmo, norm_sq in update_blocks(settings, kind.shape, kind.optimizer):
        from_updates = _from_zero(tuple(scaled_lr), tuple(decays), average, lmo)
        norms_sq[1:] += norm_sq * np.asarray(from_updates)
    # Measured updates are already as large as the correction of bias makes them.
    if update_scale is None and _corrects_bias(kind, settings):
        norms_sq[1:] += kind.entries * _excess_of_first_steps(lr, decays, forgotten[1:], settings)
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


def _corrects_bias(kind: LayerKind, settings: Group) -> bool:
    """Whether updates are Adam's, by an average of the gradients that is not yet full in the first steps."""
    return kind.optimizer.sized_by == "second moment" and "betas" in settings and settings["betas"][0] > 0


def _excess_of_first_steps(lr: np.ndarray, decays: np.ndarray, forgotten: np.ndarray, settings: Group) -> np.ndarray:
    """E θ_t² of one entry under a correction of bias beyond that of updates which are all of one size."""
    beta = float(settings["betas"][0])
    # After these the average is full, and both forget what the first steps left alike.
    first = min(len(lr), math.ceil(math.log(FULL_AVERAGE) / math.log(beta)))
    steps = lr[:first].tolist(), decays[:first].tolist()
    average = theory.exponential_average(beta)
    uniform = average.variance * np.asarray(theory.forecast(*steps, average))
    excess = np.asarray(bias_corrected_norm_sq(*steps, beta)) - uniform
    later = excess[-1] * np.exp(forgotten[first:] - forgotten[first - 1])
    return np.concatenate((excess, later))


@lru_cache(maxsize=64)
def _from_zero(lr: tuple[float, ...], decay: tuple[float, ...], momentum: MomentumFilter, lmo: Any) -> list[float]:
    """E‖θ_t‖²/E‖u‖² after each step, from θ = 0."""
    return theory.forecast(lr, decay, momentum, lmo=lmo)
