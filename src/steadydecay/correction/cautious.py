"""Cautious weight decay, a rival of the corrected one: the decay acts only where it does not oppose the update.

`steadydecay.correct_weight_decay(optimizer, rule="cautious")` attaches it to any optimizer.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from steadydecay.correction.counted_steps import moved_anywhere, parameters_to_change, where_the_step_counts
from steadydecay.correction.rules import CAUTIOUS
from steadydecay.parallel.shards import local_part


def cautious_decay(before: Tensor, after: Tensor, decay: float | Tensor) -> Tensor:
    """Return what a decay removes from the weights where it does not oppose the update: η I(u ⊙ θ ≥ 0) ⊙ θ.

    This is Algorithm 1 of Cautious Weight Decay (arXiv 2510.12402).

    Args:
        before: The weights before a step without decay.
        after: The weights after it, so that u ∝ before - after.
        decay: η = γλ ≥ 0.

    Returns:
        What to subtract from `after`, in its shape.

    >>> cautious_decay(torch.tensor([1.0, 1.0, -2.0]), torch.tensor([0.5, 1.5, -2.0]), 0.5).tolist()
    [0.5, 0.0, -1.0]
    """
    if before.is_complex():
        return torch.view_as_complex(cautious_decay(torch.view_as_real(before), torch.view_as_real(after), decay))
    return torch.where((before - after) * before >= 0, before * decay, 0)


@torch.no_grad()
def remembered_weights(groups: Iterable[Mapping[str, Any]]) -> dict[Tensor, Tensor]:
    """Return copies of the local weights of every group with cautious decay, to be compared after the step."""
    cautious = (group for group in groups if group.get("decay_replacement") == CAUTIOUS)
    return {parameter: local_part(parameter).detach().clone() for group in cautious for parameter in group["params"]}


@torch.no_grad()
def be_cautious(
    groups: Iterable[tuple[Mapping[str, Any], float | Tensor]],
    remembered: Mapping[Tensor, Tensor],
    found_inf: Tensor | None,
) -> None:
    """After a step without decay, remove η from the weights where that does not oppose the step.

    Weights stay as they are, bit for bit, at lr = 0, without a gradient, and in a step that a GradScaler has skipped.

    Args:
        groups: The groups, each with λ of this step. Their weights are written to.
        remembered: The local weights before the step.
        found_inf: The flag of the GradScaler, which is not 0 if it has skipped the step.
    """
    changing = [
        (parameter, group["lr"], group["lr"] * weight_decay)
        for group, weight_decay in groups
        for parameter in parameters_to_change(group)
        if parameter in remembered
    ]
    are_moved = moved_anywhere([parameter for parameter, _, _ in changing])
    for (parameter, lr, decay), is_moved in zip(changing, are_moved, strict=True):
        here = local_part(parameter)
        decayed = here - cautious_decay(remembered[parameter], here, decay)
        here.copy_(where_the_step_counts(decayed, here, lr, found_inf, is_moved))
