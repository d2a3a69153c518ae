"""Optimizers that hold others: which one really steps a group."""

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside a wrapper that is one too (Accelerate): a wrapper's step may not run hooks."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer


def owner_of(optimizer: Optimizer, group: Mapping[str, Any]) -> Optimizer:
    """The optimizer that steps the group: in a chain that holds several as `optimizers`, the link."""
    chained = getattr(optimizer, "optimizers", (optimizer,))
    return next((one for one in chained if any(own is group for own in one.param_groups)), optimizer)
