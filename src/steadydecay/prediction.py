"""What theory says of the parameters of an optimizer's group at their next step: decay and steady-state norm."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from steadydecay.group_settings import decay_of
from steadydecay.norms import norm_for
from steadydecay.theory import steady_norm_sq
from steadydecay.update_momentum import HEAVY_BALL, NO_MOMENTUM, UpdateMomentum, known_update_momentum


def momentum_of(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> UpdateMomentum:
    """How to read the group's momentum; `NO_MOMENTUM` for an optimizer that is not known.

    Args:
        optimizer: one optimizer, or a chain of them that holds them as `optimizers`.
        group: one of its `param_groups`.
    """
    chained = getattr(optimizer, "optimizers", (optimizer,))
    owner = next(one for one in chained if any(own is group for own in one.param_groups))
    return known_update_momentum(owner, group) or NO_MOMENTUM


def applied_decay(group: Mapping[str, Any], momentum: UpdateMomentum) -> float:
    """η of the group's next step: by its rule, or lr · weight_decay where it has none."""
    is_by_rule = "decay" in group and "reference_lr" in group
    return float(decay_of(group, momentum)) if is_by_rule else float(group["lr"]) * float(group["weight_decay"])


def predicted_norm_sq(group: Mapping[str, Any], shape: tuple[int, ...], momentum: UpdateMomentum) -> float:
    """E‖θ‖_F² of one parameter at the steady state of the group's present lr, decay and momentum.

    Infinite without decay; NaN where the size of an update depends on the gradients (SGD) or the decay is L2.
    """
    decay = applied_decay(group, momentum)
    if decay == 0:
        return math.inf
    if momentum is HEAVY_BALL or group.get("decoupled_weight_decay") is False:
        return math.nan
    return steady_norm_sq(float(group["lr"]), decay, momentum.of(group)) * update_norm_sq(group, shape)


def update_norm_sq(group: Mapping[str, Any], shape: tuple[int, ...]) -> float:
    """E‖u‖_F² that theory expects of one parameter's update, θ ← (1-η)θ - γu.

    The norm's own where the group has one; else entries of about 1: a sign (Lion), or Adam's update without momentum
    (Appendix B).
    """
    return norm_for(group["norm"], len(shape)).lmo_norm_sq(shape) if "norm" in group else float(math.prod(shape))
