"""What an optimizer stores about the past gradients of a parameter, and how its update uses it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from steadydecay.known_optimizers.known_optimizer import KnownOptimizer

# The names under which an optimizer that is not in the table may store its momentum.
USUAL_MOMENTUM_STATES = ("momentum", "momentum_buffer", "exp_avg")


class Direction(NamedTuple):
    """The direction of a normalised update: momentum · m + gradient · g, with m and g as they are after the step."""

    momentum: float
    gradient: float


def momentum_tensor(known: KnownOptimizer | None, state: Mapping[str, Any], parameter: Tensor) -> Tensor | None:
    """Return the momentum that an optimizer stores for a parameter, in the parameter's shape, or None if there is none.

    Args:
        known: The entry of the optimizer, or None if it is not known.
        state: The optimizer's state of the parameter.
        parameter: The parameter.
    """
    names = (known.momentum_state,) if known is not None and known.momentum_state else USUAL_MOMENTUM_STATES
    return _state_tensor(state, parameter, names)


def second_moment(known: KnownOptimizer | None, state: Mapping[str, Any], parameter: Tensor) -> Tensor | None:
    """Return the average of squared gradients that divides an update, or None for optimizers unlike Adam."""
    return None if known is None else _state_tensor(state, parameter, known.second_moments)


def direction_of(known: KnownOptimizer | None, group: Mapping[str, Any]) -> Direction | None:
    """Return what an optimizer normalises, in terms of the momentum that it stores, or None if that is not known.

    A filter's direction d = a m + (1-a) g uses the average before the step, m = (m' - (1-β)g)/β, where m' is the
    average after it, which is (1-β) times a sum b.

    Args:
        known: The entry of the optimizer, or None if it is not known.
        group: A snapshot of the group, whose values are numbers.
    """
    is_normalised = known is not None and known.sized_by in ("norm", "sign", "polar factor")
    if known is None or known.momentum is None or not known.momentum_state or not is_normalised:
        return None
    average = known.of(group)
    carry, beta = float(average.carry), float(average.decay)
    if beta == 0:
        return Direction(0.0, 1.0) if carry == 0 else None
    per_average = carry / beta
    per_state = per_average * (1 - beta) if known.momentum_state_holds == "sum" else per_average
    return Direction(per_state, 1 - carry - per_average * (1 - beta))


def bias_correction(beta2: Any, steps: Any) -> Any:
    """Return 1 - β₂^t. It stays a tensor if the step count is one on an accelerator, to avoid waiting."""
    if isinstance(steps, Tensor) and steps.device.type == "cpu":
        steps = steps.item()
    return 1 - (beta2**steps if isinstance(beta2, Tensor) or isinstance(steps, Tensor) else math.pow(beta2, steps))


def _state_tensor(state: Mapping[str, Any], parameter: Tensor, names: Sequence[str]) -> Tensor | None:
    # Use a plain loop: for 10⁵ small weights, generators take longer than the tensors.
    for name in names:
        found = state.get(name)
        if isinstance(found, Tensor) and found.shape == parameter.shape:
            return found
    return None
