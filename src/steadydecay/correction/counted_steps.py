"""Which steps count: those that may have moved a weight. The others leave it as it is, bit for bit."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from steadydecay.groups.settings import may_move
from steadydecay.parallel.shards import PartialSum, sharding_of, sum_over_ranks


def has_moved(parameter: Tensor) -> bool:
    """Whether a step moves the part of a parameter that is here: it has a gradient."""
    return parameter.grad is not None


def parameters_to_change(group: Mapping[str, Any]) -> list[Tensor]:
    """Those of a group that the step may have moved, here or, of those that are cut over ranks, on another rank."""
    if not may_move(group["lr"]):
        return []
    return [parameter for parameter in group["params"] if has_moved(parameter) or sharding_of(parameter) is not None]


def moved_anywhere(parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """Of each that is cut over ranks, whether any of them has moved its part, as a 0-d tensor; None of the others.

    One collective for each process group. A gradient may be there on some ranks alone, and their parts are one weight.
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
    """1 where the part that is here has moved, else 0, to be added up over ranks: (1,) in float64."""
    # Not torch.tensor(..., device=device), which waits until the device has done all it was told.
    return torch.full((1,), float(has_moved(parameter)), dtype=torch.float64, device=parameter.device)


def where_the_step_counts(
    changed: Tensor, unchanged: Tensor, lr: float | Tensor, found_inf: Tensor | None, is_moved: Tensor | None = None
) -> Tensor:
    """`changed`, or `unchanged` at lr = 0, in a step that a GradScaler has cancelled, and where nothing has moved.

    By tensors, so that the device is not waited for.

    Args:
        changed, unchanged: plain tensors of one shape.
        lr: of the step.
        found_inf: of the GradScaler; not 0 where it has cancelled the step.
        is_moved: of `moved_anywhere`.
    """
    conditions = [None if found_inf is None else found_inf == 0, is_moved, lr != 0 if isinstance(lr, Tensor) else None]
    for condition in conditions:
        if condition is not None:
            changed = torch.where(condition.to(changed.device, non_blocking=True), changed, unchanged)
    return changed
