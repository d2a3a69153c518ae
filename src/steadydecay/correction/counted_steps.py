"""Find the steps that count, those that may have moved a weight. Other steps leave it as it is, bit for bit."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from steadydecay.groups.settings import may_move
from steadydecay.parallel.shards import PartialSum, sharding_of, sum_over_ranks


def has_moved(parameter: Tensor) -> bool:
    """Return whether a step moves the local part of a parameter, because it has a gradient."""
    return parameter.grad is not None


def parameters_to_change(group: Mapping[str, Any]) -> list[Tensor]:
    """Return the parameters of a group that the step may have moved, here or, if they are sharded, on another rank."""
    if not may_move(group["lr"]):
        return []
    return [parameter for parameter in group["params"] if has_moved(parameter) or sharding_of(parameter) is not None]


def moved_anywhere(parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """Return, for each sharded parameter, whether any rank has moved its part, as a 0-d tensor; None for the others.

    This takes one collective for each process group. Some ranks may lack a gradient although all hold parts of one
    weight.
    """
    flags: list[Tensor | None] = []
    partial: list[PartialSum] = []
    for parameter in parameters:
        sharding = sharding_of(parameter)
        flag = None if sharding is None else flag_of(parameter)
        flags.append(flag)
        if sharding is not None and flag is not None:
            partial.append((sharding.groups(), [flag]))
    sum_over_ranks(partial)
    return [None if flag is None else flag[0] > 0 for flag in flags]


def flag_of(parameter: Tensor) -> Tensor:
    """Return 1 if the local part has moved, or else 0, to be summed over ranks: (1,) in float64."""
    # Avoid torch.tensor(..., device=device), which waits until the device has finished all its work.
    return torch.full((1,), float(has_moved(parameter)), dtype=torch.float64, device=parameter.device)


def where_the_step_counts(
    changed: Tensor, unchanged: Tensor, lr: float | Tensor, found_inf: Tensor | None, is_moved: Tensor | None = None
) -> Tensor:
    """Return `changed`, or `unchanged` at lr = 0, in a step that a GradScaler has skipped, or if nothing has moved.

    The choice is made by tensors, so that nothing waits for the device.

    Args:
        changed, unchanged: Plain tensors of one shape.
        lr: The learning rate of the step.
        found_inf: The flag of the GradScaler, which is not 0 if it has skipped the step.
        is_moved: The result of `moved_anywhere`.
    """
    conditions = [None if found_inf is None else found_inf == 0, is_moved, lr != 0 if isinstance(lr, Tensor) else None]
    for condition in conditions:
        if condition is not None:
            changed = torch.where(condition.to(changed.device, non_blocking=True), changed, unchanged)
    return changed
