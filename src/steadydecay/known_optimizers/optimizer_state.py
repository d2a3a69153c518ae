"""What an optimizer keeps of a parameter's past gradients, and what its update makes of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from steadydecay.known_optimizers.known_optimizer import KnownOptimizer

# Under which an optimizer that the table does not know may keep its momentum.
USUAL_MOMENTUM_STATES = ("momentum", "momentum_buffer", "exp_avg")


class Direction(NamedTuple):
    """The direction that a normalised update goes in: momentum · m + gradient · g, m and g as after the step."""

    momentum: float
    gradient: float


def momentum_tensor(known: KnownOptimizer | None, state: Mapping[str, Any], parameter: Tensor) -> Tensor | None:
    """The momentum that an optimizer keeps of a parameter, in the shape of the parameter; None where there is none.

    Args:
        known: the optimizer; None where it is not known.
        state: the optimizer's of the parameter.
        parameter: whose shape the momentum has.
    """
    names = (known.momentum_state,) if known is not None and known.momentum_state else USUAL_MOMENTUM_STATES
    return _state_tensor(state, parameter, names)


def second_moment(known: KnownOptimizer | None, state: Mapping[str, Any], parameter: Tensor) -> Tensor | None:
    """The average of squared gradients that divides an update as Adam's does; None of other optimizers."""
    return None if known is None else _state_tensor(state, parameter, known.second_moments)


def direction_of(known: KnownOptimizer | None, group: Mapping[str, Any]) -> Direction | None:
    """What an optimizer normalises, from the momentum that it keeps; None where that is not known.

    A filter's direction d = a m + (1-a) g takes the average before the step, m = (m' - (1-β)g)/β, where m' is the
    average after it, that is (1-β) times a sum b.

    Args:
        known: the optimizer; None where it is not known.
        group: whose values are numbers: a snapshot's.
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
    """1 - β₂^t; a tensor where the count is one on an accelerator, which is not waited for."""
    if isinstance(steps, Tensor) and steps.device.type == "cpu":
        steps = steps.item()
    return 1 - (beta2**steps if isinstance(beta2, Tensor) or isinstance(steps, Tensor) else math.pow(beta2, steps))


def _state_tensor(state: Mapping[str, Any], parameter: Tensor, names: Sequence[str]) -> Tensor | None:
    # A plain loop: of 10⁵ small weights, generators take longer than the tensors.
    for name in names:
        found = state.get(name)
        if isinstance(found, Tensor) and found.shape == parameter.shape:
            return found
    return None
