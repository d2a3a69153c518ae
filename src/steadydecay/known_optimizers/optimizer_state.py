"""Where an optimizer keeps its momentum, and what its update makes of it."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from steadydecay.known_optimizers.table import class_names

MOMENTUM_KEYS = ("momentum", "momentum_buffer", "exp_avg")
SECOND_MOMENT_KEYS = ("max_exp_avg_sq", "exp_avg_sq")
ADAMS = ("torch.Adam", "torch.AdamW")


class Direction(NamedTuple):
    """The direction that a normalised update goes in: momentum · m + gradient · g, m and g as after the step."""

    momentum: float
    gradient: float


def momentum_tensor(owner: torch.optim.Optimizer, parameter: Tensor) -> Tensor | None:
    """The momentum that the optimizer keeps of a parameter."""
    return _state_tensor(owner, parameter, MOMENTUM_KEYS)


def second_moment(owner: torch.optim.Optimizer, parameter: Tensor) -> tuple[Tensor, Any] | None:
    """Adam's average of squared gradients that divides its update, and the number of steps in it."""
    if not any(name in ADAMS for name in class_names(owner)):
        return None
    average = _state_tensor(owner, parameter, SECOND_MOMENT_KEYS)
    return None if average is None else (average, owner.state[parameter]["step"])


def direction_of(owner: torch.optim.Optimizer, group: Mapping[str, Any]) -> Direction | None:
    """What is normalised in the optimizers whose buffer is known to be an average; None in all others.

    Group values must be numbers: a snapshot's.
    """
    names = set(class_names(owner))
    if names & {"steadydecay.Scion", "torch.Muon"}:
        beta = float(group["momentum"])
        return Direction(beta, 1 - beta) if group.get("nesterov") else Direction(1.0, 0.0)
    if "Lion" in names and "betas" in group:
        beta1, beta2 = map(float, group["betas"])
        # β₁m' + (1-β₁)g with the momentum before the step, m' = (m - (1-β₂)g)/β₂.
        return Direction(beta1 / beta2, 1 - beta1 - beta1 * (1 - beta2) / beta2) if beta2 else None
    return None


def bias_correction(beta2: Any, steps: Any) -> Any:
    """1 - β₂^t; a tensor where the count is one on an accelerator, which is not waited for."""
    if isinstance(steps, Tensor) and steps.device.type == "cpu":
        steps = steps.item()
    return 1 - (beta2**steps if isinstance(beta2, Tensor) or isinstance(steps, Tensor) else math.pow(beta2, steps))


def _state_tensor(owner: torch.optim.Optimizer, parameter: Tensor, keys: tuple[str, ...]) -> Tensor | None:
    # `get`, because the state is a defaultdict, and torch takes an empty entry for one that is there.
    state = owner.state.get(parameter, {})
    found = (state[key] for key in keys if isinstance(state.get(key), Tensor))
    return next((tensor for tensor in found if tensor.shape == parameter.shape), None)
