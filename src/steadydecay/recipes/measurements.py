"""What a run records of its weights and gradients, beside what the theory predicts."""

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from steadydecay.group_settings import decay_of
from steadydecay.norms import norm_for
from steadydecay.theory import steady_norm_sq


def norms_by_role(optimizer: torch.optim.Optimizer, measure: str) -> dict[str, dict[str, float]]:
    """{measure: {role: Frobenius norm over all parameters of the role}}; measure: "weight_norm" or "gradient_norm"."""
    tensors: dict[str, list[Tensor]] = defaultdict(list)
    for group in optimizer.param_groups:
        of_group = group["params"] if measure == "weight_norm" else [p.grad for p in group["params"]]
        tensors[group["role"]] += [tensor for tensor in of_group if tensor is not None]
    return {measure: {role: get_total_norm(of_role).item() for role, of_role in tensors.items()}}


def hyperparameters_by_role(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, float]]:
    """lr, decay (η) and predicted steady norm of the next step, each by role (of its last group, if it has several)."""
    groups = optimizer.param_groups
    return {
        "lr": {group["role"]: float(group["lr"]) for group in groups},
        "decay": {group["role"]: _decay(group) for group in groups},
        "predicted_norm": predicted_norm_by_role(groups),
    }


def predicted_norm_by_role(groups: list[dict[str, Any]]) -> dict[str, float]:
    """‖θ‖ at the steady state of the present lr, decay and momentum; infinite where a role does not decay."""
    squares: dict[str, float] = defaultdict(float)
    for group in groups:
        squares[group["role"]] += _predicted_norm_sq(group)
    return {role: math.sqrt(square) for role, square in squares.items()}


def norm_by_layer(model: nn.Module) -> dict[str, float]:
    """Frobenius norm of every trainable parameter, by name."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    norms = torch.stack([parameter.detach().float().norm() for parameter in named.values()])
    return dict(zip(named, norms.tolist(), strict=True))


def _decay(group: Mapping[str, Any]) -> float:
    return float(decay_of(group)) if "norm" in group else float(group["lr"]) * float(group["weight_decay"])


def _predicted_norm_sq(group: Mapping[str, Any]) -> float:
    lr, decay = float(group["lr"]), _decay(group)
    if decay == 0:
        return math.inf
    shapes = [tuple(parameter.shape) for parameter in group["params"]]
    if "norm" not in group:
        # Adam's second moment, not its momentum, normalises: S counts un-smoothed updates of unit entries (Appendix B).
        return steady_norm_sq(lr, decay) * sum(map(math.prod, shapes))
    update_norm_sq = sum(norm_for(group["norm"], len(shape)).lmo_norm_sq(shape) for shape in shapes)
    return steady_norm_sq(lr, decay, float(group["momentum"]), nesterov=group["nesterov"]) * update_norm_sq
