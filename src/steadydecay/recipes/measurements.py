"""What a run records of its weights and gradients, beside what the theory predicts."""

import math
from collections import defaultdict

import torch

from steadydecay.groups.prediction import applied_decay, predicted_norm_sq, stepped_by
from steadydecay.parallel.total_norms import NormMeasure, norms_by_group


def norms_by_role(optimizer: torch.optim.Optimizer, measure: NormMeasure) -> dict[str, dict[str, float]]:
    """{measure: {role: Frobenius norm over all parameters of the role}}; 0 where a role has no gradient."""
    roles = dict.fromkeys((group["role"] for group in optimizer.param_groups), 0.0)
    norms = norms_by_group(optimizer.param_groups, measure)
    return {measure: roles | {role: norm.item() for role, norm in norms.items()}}


def hyperparameters_by_role(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, float]]:
    """lr, decay (η) and predicted steady norm of the next step, each by role (of its last group, if it has several).

    The prediction is ‖θ‖ at the steady state of the present lr, decay and momentum: infinite where a role does not
    decay, NaN where the size of an update depends on the gradients (SGD) or the decay is L2.
    """
    lr, decay, predicted_sq = {}, {}, defaultdict(float)
    for group in optimizer.param_groups:
        role, known = group["role"], stepped_by(optimizer, group)
        lr[role], decay[role] = float(group["lr"]), applied_decay(group, known)
        predicted_sq[role] += sum(predicted_norm_sq(group, tuple(one.shape), known) for one in group["params"])
    predicted = {role: math.sqrt(square) for role, square in predicted_sq.items()}
    return {"lr": lr, "decay": decay, "predicted_norm": predicted}
