"""One measured step: everything that is computed on the device after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from steadydecay.monitor.chunks import Scratch
from steadydecay.monitor.facts import GroupFacts, LayerFacts
from steadydecay.monitor.host import Number, on_device
from steadydecay.monitor.optimizer_sums import OptimizerSums, optimizer_sums
from steadydecay.monitor.stacks import Stack
from steadydecay.monitor.watched_layers import Layer
from steadydecay.monitor.weight_shards import sum_over_ranks
from steadydecay.tensors.spectral_norm import COLD_ITERATIONS, WARM_ITERATIONS, image_gram


@final
@dataclass
class StackResult:
    """Of one stack, on the device.

    Attributes:
        layers: in order.
        weight_sums: `step_sums.weight_sums`.
        gradient_sums, unit_gradient_sq: as in `OptimizerSums`.
        largest: max |w| of each, (ranks, stacked) until it is summed over ranks, then (stacked,).
        rates: of the norms' `Trend`.
        grams: for each block, what its spectral norm is computed from.
    """

    layers: list[LayerFacts]
    weight_sums: Tensor
    gradient_sums: Tensor | None
    unit_gradient_sq: Tensor | None
    largest: Tensor | None
    rates: Tensor
    grams: list[Tensor] = field(default_factory=list)

    def sums(self) -> list[Tensor]:
        """What adds up over the ranks that share the weights."""
        found = [self.weight_sums, self.gradient_sums, self.unit_gradient_sq, self.largest]
        return [tensor for tensor in found if tensor is not None]


def measure(
    stacks: Sequence[Stack],
    groups: Sequence[GroupFacts],
    idle: set[str],
    time_of: Callable[[Layer], Number],
    scratch: Scratch,
) -> list[StackResult]:
    """Everything that is measured after a step, as tensors that no one has waited for.

    Args:
        stacks: which have remembered the weights before the step.
        groups: all groups' facts, by index.
        idle: names of layers that the step has not moved.
        time_of: time constants that have passed for a layer.
        scratch: memory for temporaries.
    """
    measured = [_of_stack(stack, groups[stack.key.group], idle, time_of, scratch) for stack in stacks]
    lrs = [groups[stack.key.group].settings.get("lr") for stack in stacks]
    rounds = [_rounds(*of_one) for of_one in zip(stacks, measured, lrs, strict=True)]
    for left in range(max(rounds, default=1), 0, -1):
        active = [index for index, count in enumerate(rounds) if count >= left]
        images = {index: stacks[index].images() for index in active}
        partial = [(stacks[index].key.sharding, images[index]) for index in active]
        if left == 1:
            partial += [(stack.key.sharding, result.sums()) for stack, result in zip(stacks, measured, strict=True)]
        sum_over_ranks(partial)
        for index in active:
            stacks[index].turn(images[index])
            measured[index].grams = [image_gram(of_block) for of_block in images[index]]
    for stack, result in zip(stacks, measured, strict=True):
        result.largest = None if result.largest is None else result.largest.amax(dim=0)
        _follow(stack, result)
    return measured


def _of_stack(
    stack: Stack, group: GroupFacts, idle: set[str], time_of: Callable[[Layer], Number], scratch: Scratch
) -> StackResult:
    found = optimizer_sums(stack, group, scratch)
    is_moved = [layer.name not in idle for layer in stack.layers]
    decays = on_device([group.decay if moved else 0.0 for moved in is_moved], stack.key.device, stack.dtype)
    stack.has_moved = [now or before for now, before in zip(is_moved, stack.has_moved, strict=True)]
    facts = [_layer_facts(stack, at, is_moved[at], time_of, found) for at in range(len(stack.layers))]
    largest = stack.largest()
    sums = found.gradient_sums, found.unit_gradient_sq
    return StackResult(facts, stack.weight_sums(decays), *sums, largest, stack.trend.rate)


def _layer_facts(
    stack: Stack, at: int, is_moved: bool, time_of: Callable[[Layer], Number], found: OptimizerSums
) -> LayerFacts:
    layer, known = stack.layers[at], stack.times[at]
    now = time_of(layer)
    return LayerFacts(
        layer=layer,
        shape=tuple(layer.parameter.shape),
        is_moved=is_moved,
        has_ever_moved=stack.has_moved[at],
        times=(now if known is None else known[0], now),
        has_gradient=found.has_gradient[at],
        has_momentum=found.has_momentum[at],
        has_second_moment=found.has_second_moment[at],
    )


def _rounds(stack: Stack, result: StackResult, lr: Any) -> int:
    """Products with MᵀM: many where the vectors know nothing of the matrix, as of zeros before their first step."""
    if not stack.bases:
        return 1
    moved = [fact.is_moved and (isinstance(lr, Tensor) or lr != 0) for fact in result.layers]
    is_cold = stack.is_new or any(now and not warm for now, warm in zip(moved, stack.is_warm, strict=True))
    stack.is_warm = [now or warm for now, warm in zip(moved, stack.is_warm, strict=True)]
    return COLD_ITERATIONS if is_cold else WARM_ITERATIONS


def _follow(stack: Stack, result: StackResult) -> None:
    """Let the stack's trend see the new norms."""
    known = zip(result.layers, stack.times, strict=True)
    before = [fact.times[1] if times is None else times[1] for fact, times in known]
    elapsed = [fact.times[1] - time for fact, time in zip(result.layers, before, strict=True)]
    stack.trend = stack.trend.after(result.weight_sums[:, 1], on_device(elapsed, stack.key.device, torch.float32))
    stack.times = [fact.times for fact in result.layers]
    result.rates = stack.trend.rate
