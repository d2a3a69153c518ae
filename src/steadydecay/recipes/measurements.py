"""What a run records of its weights and gradients, beside what the theory predicts."""

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from steadydecay.group_norms import total_norm
from steadydecay.group_settings import decay_of
from steadydecay.norms import norm_for
from steadydecay.theory import steady_norm_sq
from steadydecay.update_momentum import HEAVY_BALL, NO_MOMENTUM, UpdateMomentum, known_update_momentum


def norms_by_role(optimizer: torch.optim.Optimizer, measure: str) -> dict[str, dict[str, float]]:
    """{measure: {role: Frobenius norm over all parameters of the role}}; measure: "weight_norm" or "gradient_norm"."""
    tensors: dict[str, list[Tensor]] = defaultdict(list)
    for group in optimizer.param_groups:
        of_group = group["params"] if measure == "weight_norm" else [p.grad for p in group["params"]]
        tensors[group["role"]] += [tensor for tensor in of_group if tensor is not None]
    return {measure: {role: total_norm(of_role).item() if of_role else 0.0 for role, of_role in tensors.items()}}


def hyperparameters_by_role(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, float]]:
    """lr, decay (η) and predicted steady norm of the next step, each by role (of its last group, if it has several).

    The prediction is ‖θ‖ at the steady state of the present lr, decay and momentum: infinite where a role does not
    decay, NaN where the size of an update depends on the gradients (SGD) or the decay is L2.
    """
    lr, decay, predicted_sq = {}, {}, defaultdict(float)
    for group in optimizer.param_groups:
        role, momentum = group["role"], _momentum(optimizer, group)
        lr[role], decay[role] = float(group["lr"]), _decay(group, momentum)
        predicted_sq[role] += _predicted_norm_sq(group, lr[role], decay[role], momentum)
    predicted = {role: math.sqrt(square) for role, square in predicted_sq.items()}
    return {"lr": lr, "decay": decay, "predicted_norm": predicted}


def norm_by_layer(model: nn.Module) -> dict[str, float]:
    """Frobenius norm of every trainable parameter, by name."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    norms = torch.stack([parameter.detach().float().norm() for parameter in named.values()])
    return dict(zip(named, norms.tolist(), strict=True))


def _momentum(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> UpdateMomentum:
    chained = getattr(optimizer, "optimizers", (optimizer,))
    owner = next(one for one in chained if any(own is group for own in one.param_groups))
    return known_update_momentum(owner, group) or NO_MOMENTUM


def _decay(group: Mapping[str, Any], momentum: UpdateMomentum) -> float:
    is_by_rule = "decay" in group and "reference_lr" in group
    return float(decay_of(group, momentum)) if is_by_rule else float(group["lr"]) * float(group["weight_decay"])


def _predicted_norm_sq(group: Mapping[str, Any], lr: float, decay: float, momentum: UpdateMomentum) -> float:
    if decay == 0:
        return math.inf
    if momentum is HEAVY_BALL or group.get("decoupled_weight_decay") is False:
        return math.nan
    shapes = [tuple(parameter.shape) for parameter in group["params"]]
    if "norm" in group:
        update_norm_sq = sum(norm_for(group["norm"], len(shape)).lmo_norm_sq(shape) for shape in shapes)
    else:
        # Entries of about 1: a sign (Lion), or Adam's update without momentum (Appendix B).
        update_norm_sq = sum(map(math.prod, shapes))
    return steady_norm_sq(lr, decay, momentum.of(group)) * update_norm_sq
