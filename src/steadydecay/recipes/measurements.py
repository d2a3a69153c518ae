"""What a run records about its weights and gradients, beside what theory predicts."""

import math
from collections import defaultdict

import torch

from steadydecay.groups.prediction import applied_decay, predicted_norm_sq, stepped_by
from steadydecay.parallel.total_norms import NormMeasure, norms_by_group


def norms_by_role(optimizer: torch.optim.Optimizer, measure: NormMeasure) -> dict[str, dict[str, float]]:
    """Return {measure: {role: Frobenius norm over all its parameters}}, with 0 for a role without gradients."""
    roles = dict.fromkeys((group["role"] for group in optimizer.param_groups), 0.0)
    norms = norms_by_group(optimizer.param_groups, measure)
    return {measure: roles | {role: norm.item() for role, norm in norms.items()}}


def hyperparameters_by_role(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, float]]:
    """Return lr, decay (η) and the predicted steady norm of the next step, each by role.

    If a role has several groups, the last one counts. The prediction is ‖θ‖ at the steady state of the current lr,
    decay and momentum. It is infinite if a role does not decay, and NaN if the size of an update depends on the
    gradients (SGD) or the decay is L2.
    """
    lr, decay, predicted_sq = {}, {}, defaultdict(float)
    for group in optimizer.param_groups:
        role, known = group["role"], stepped_by(optimizer, group)
        lr[role], decay[role] = float(group["lr"]), applied_decay(group, known)
        predicted_sq[role] += sum(predicted_norm_sq(group, tuple(one.shape), known) for one in group["params"])
    predicted = {role: math.sqrt(square) for role, square in predicted_sq.items()}
    return {"lr": lr, "decay": decay, "predicted_norm": predicted}
