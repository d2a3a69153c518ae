"""Sums over the gradients of a stack and what the optimizer keeps of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from steadydecay.known_optimizers.optimizer_state import bias_correction, momentum_tensor, second_moment
from steadydecay.monitor.chunks import Matrices, Scratch
from steadydecay.monitor.facts import GroupFacts
from steadydecay.monitor.host import on_device
from steadydecay.monitor.stacks import Stack
from steadydecay.monitor.step_sums import gradient_sums, unit_gradient_squares


class OptimizerSums(NamedTuple):
    """Which layers have a gradient, a momentum and a second moment, and the sums; of a layer without, any number.

    Attributes:
        gradient_sums: `step_sums.gradient_sums`; None where no layer has a gradient or a momentum.
        unit_gradient_sq: `step_sums.unit_gradient_squares`; None where no layer has a gradient and a second moment.
    """

    has_gradient: list[bool]
    has_momentum: list[bool]
    has_second_moment: list[bool]
    gradient_sums: Tensor | None = None
    unit_gradient_sq: Tensor | None = None


def optimizer_sums(stack: Stack, group: GroupFacts, scratch: Scratch) -> OptimizerSums:
    """Sums after a step over gradients and state as it has left them."""
    parameters = [layer.parameter for layer in stack.layers]
    # There `.grad` holds the average, and the step has scaled it.
    if group.settings.get("memory_light"):
        nothing = [False] * len(parameters)
        return OptimizerSums(nothing, nothing, nothing)
    gradients = [parameter.grad for parameter in parameters]
    momenta = [momentum_tensor(group.owner, parameter) for parameter in parameters]
    seconds = [second_moment(group.owner, parameter) for parameter in parameters]
    has_gradient = [gradient is not None for gradient in gradients]
    has_momentum = [momentum is not None for momentum in momenta]
    has_second = [has and second is not None for has, second in zip(has_gradient, seconds, strict=True)]
    found = OptimizerSums(has_gradient, has_momentum, has_second)
    filled = stack.matrices(_or(gradients, parameters))
    if any(has_gradient) or any(has_momentum):
        sums = gradient_sums(filled, stack.matrices(_or(momenta, parameters)), scratch)
        found = found._replace(gradient_sums=sums)
    if any(has_second):
        found = found._replace(unit_gradient_sq=_unit_gradient_sq(stack, group, filled, seconds, scratch))
    return found


def _unit_gradient_sq(
    stack: Stack,
    group: GroupFacts,
    gradients: Matrices,
    seconds: Sequence[tuple[Tensor, Any] | None],
    scratch: Scratch,
) -> Tensor:
    beta2, eps = group.settings["betas"][1], float(group.settings["eps"])
    corrections = [1.0 if second is None else bias_correction(beta2, second[1]) for second in seconds]
    averages = [None if second is None else second[0] for second in seconds]
    filled = stack.matrices(_or(averages, [layer.parameter for layer in stack.layers]))
    divisors = on_device(corrections, stack.key.device, stack.dtype)
    return unit_gradient_squares(gradients, filled, divisors, eps, scratch)


def _or(tensors: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor]:
    """What there is not is filled with weights, so that a stack stays one batch."""
    return [parameter if tensor is None else tensor for tensor, parameter in zip(tensors, parameters, strict=True)]
