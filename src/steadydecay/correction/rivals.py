"""Two rivals of corrected weight decay, for comparisons: cautious decay, and a hard constraint on the norm.

`steadydecay.correct_weight_decay(optimizer, rule="cautious" | "hyperball")` attaches them to any optimizer.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from steadydecay.theory.validation import require_in


def cautious_decay(before: Tensor, after: Tensor, decay: float | Tensor) -> Tensor:
    """What a decay takes from the weights where it does not fight the update: η I(u ⊙ θ ≥ 0) ⊙ θ.

    Cautious Weight Decay, arXiv 2510.12402, Algorithm 1.

    Args:
        before: weights before a step without decay.
        after: weights after it; u ∝ before - after.
        decay: η = γλ ≥ 0.

    Returns:
        What to subtract from `after`, of its shape.

    >>> cautious_decay(torch.tensor([1.0, 1.0, -2.0]), torch.tensor([0.5, 1.5, -2.0]), 0.5).tolist()
    [0.5, 0.0, -1.0]
    """
    if before.is_complex():
        return torch.view_as_complex(cautious_decay(torch.view_as_real(before), torch.view_as_real(after), decay))
    return torch.where((before - after) * before >= 0, before * decay, 0)


def projection_factor(weight: Tensor, norm: float) -> Tensor:
    """What scales a weight to the Frobenius norm `norm`, 0-d; 1 for a zero weight, which no factor can scale.

    The constraint of Hyperball (arXiv 2606.16899). Its second half, updates of a fixed norm, is the optimizer's affair.

    >>> projection_factor(torch.tensor([[3.0, 4.0]]), 10.0)
    tensor(2.)
    """
    now = frobenius_norm(weight)
    return torch.where(now > 0, norm / now, 1)


def frobenius_norm(weight: Tensor) -> Tensor:
    """‖θ‖_F, 0-d, in float32 at least; of a complex weight too."""
    precision = torch.promote_types(weight.dtype, torch.complex64 if weight.is_complex() else torch.float32)
    return torch.linalg.vector_norm(weight, dtype=precision)


def norms_to_hold(parameters: Sequence[Tensor], given: Sequence[float | None] | None, name: str) -> list[float | None]:
    """The norm that each parameter is to hold: as given, or its own; None for vectors, which are left free.

    Raises:
        ValueError: as many norms as parameters were not given, or one is not positive: a zero weight held at its norm
            would never move.
    """
    norms = [float(frobenius_norm(p.detach())) if p.ndim >= 2 else None for p in parameters]
    if given is not None:
        if len(given) != len(norms):
            raise ValueError(f"hyperball_norms of {name} has {len(given)} entries; legal is {len(norms)}, one a tensor")
        norms = [None if norm is None else float(norm) for norm in given]
    for norm in norms:
        if norm is not None:
            remedy = "a weight that starts at zero needs hyperball_norms in its group, or a group that where leaves out"
            require_in(f"a norm of hyperball_norms of {name}", norm, 0, remedy=remedy)
    return norms


def remembered_weights(groups: Iterable[Mapping[str, Any]]) -> dict[Tensor, Tensor]:
    """Copies of the weights of every group with cautious decay, to be compared after the step."""
    cautious = (group for group in groups if group.get("decay_replacement") == "cautious")
    return {parameter: parameter.detach().clone() for group in cautious for parameter in group["params"]}


@torch.no_grad()
def constrain(group: Mapping[str, Any], remembered: Mapping[Tensor, Tensor], found_inf: Tensor | None) -> None:
    """After a step: what the group's `decay_replacement` does to its weights.

    lr = 0, a step that a GradScaler has cancelled (`found_inf`), and no gradient leave them as they are, bitwise.
    """
    lr = group["lr"]
    if not isinstance(lr, Tensor) and lr == 0:
        return
    is_held = group["decay_replacement"] == "hyperball"
    norms = group["hyperball_norms"] if is_held else [None] * len(group["params"])
    for parameter, norm in zip(group["params"], norms, strict=True):
        if parameter.grad is None:
            continue
        if norm is not None:
            changed = parameter * projection_factor(parameter, norm).to(parameter.dtype)
        elif parameter in remembered:
            before = remembered[parameter]
            changed = parameter - cautious_decay(before, parameter, lr * group["replaced_weight_decay"])
        else:
            continue
        parameter.copy_(_where_the_step_counts(changed, parameter, lr, found_inf))


def _where_the_step_counts(changed: Tensor, unchanged: Tensor, lr: float | Tensor, found_inf: Tensor | None) -> Tensor:
    """By tensors, so that the device is not waited for."""
    if isinstance(lr, Tensor):
        changed = torch.where((lr != 0).to(changed.device, non_blocking=True), changed, unchanged)
    if found_inf is not None:
        changed = torch.where((found_inf == 0).to(changed.device, non_blocking=True), changed, unchanged)
    return changed
