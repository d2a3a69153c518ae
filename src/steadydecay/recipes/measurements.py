"""What a run records of its weights and gradients, beside what the theory predicts."""

import math
from collections import defaultdict

import torch
from torch import Tensor

from steadydecay.groups.prediction import applied_decay, momentum_of, predicted_norm_sq
from steadydecay.tensors.total_norms import total_norm


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
        role, momentum = group["role"], momentum_of(optimizer, group)
        lr[role], decay[role] = float(group["lr"]), applied_decay(group, momentum)
        predicted_sq[role] += sum(predicted_norm_sq(group, tuple(one.shape), momentum) for one in group["params"])
    predicted = {role: math.sqrt(square) for role, square in predicted_sq.items()}
    return {"lr": lr, "decay": decay, "predicted_norm": predicted}
