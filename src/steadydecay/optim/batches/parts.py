"""The weights that take part in a step, each with the tensors that its step reads and writes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from steadydecay.groups.settings import Group
from steadydecay.parallel.cuts import Cut
from steadydecay.parallel.regions import index_of
from steadydecay.parallel.shards import local_part

Number = float | Tensor


class Part(NamedTuple):
    """A weight, or some of its rows, with the plain tensors that its step reads and writes, local ones if it is
    sharded.

    Attributes:
        weight: θ.
        gradient: g.
        average: m, which is the gradient itself in memory-light mode.
        compensation: The compensation for rounding of a low-precision weight, if it is kept.
        cut: How the whole weight is sharded over ranks, if it is.
    """

    weight: Tensor
    gradient: Tensor
    average: Tensor
    compensation: Tensor | None
    cut: Cut | None = None

    def seen_as(self, views: Sequence[Tensor]) -> "Part":
        """Return a part made of views of its tensors, in their order."""
        weight, gradient, average, *remainder = views
        return Part(weight, gradient, average, remainder[0] if remainder else None, self.cut)

    def split_rows(self, rows: int) -> Iterator["Part"]:
        """Yield views of this many rows each."""
        weight, gradient, average, compensation, _ = self
        for start in range(0, len(weight), rows):
            of_rows = slice(start, start + rows)
            remainder = None if compensation is None else compensation[of_rows]
            yield Part(weight[of_rows], gradient[of_rows], average[of_rows], remainder)


class PartsOfGroup(NamedTuple):
    """Everything that one step does to one group.

    Attributes:
        group: The group with its hyperparameters.
        decay: η of this step.
        parts: Its weights that have a gradient.
    """

    group: Group
    decay: Number
    parts: list[Part]


class StepBatch(NamedTuple):
    """Parts of one device and dtype that are stepped together: a list for each field of `Part`."""

    weights: list[Tensor]
    gradients: list[Tensor]
    averages: list[Tensor]
    compensations: list[Tensor | None]
    cuts: list[Cut | None]


# A function that takes a batch of a group, the group, and η, and steps the batch.
Advance = Callable[[StepBatch, Group, Number], None]


def batch_of(parts: list[Part]) -> StepBatch:
    """Combine one or more parts into one batch, with gradients in the dtype of the averages."""
    batch, dtype = StepBatch(*map(list, zip(*parts, strict=True))), parts[0].average.dtype
    same = [gradient if gradient.dtype == dtype else gradient.to(dtype) for gradient in batch.gradients]
    return batch._replace(gradients=same)


def real_view(part: Part) -> Part:
    """Return a complex part with each entry as two numbers (..., 2). Only conjugate views are copied."""
    views = [torch.view_as_real(tensor.resolve_conj()) for tensor in part[:4] if tensor is not None]
    return part.seen_as(views)


def parts_of(
    group: Group,
    states: Mapping[Tensor, dict[str, Tensor]],
    optimizer_name: str,
    cuts: Mapping[Tensor, Cut],
) -> list[Part]:
    """Return each weight of a group that has a gradient, with its state.

    Args:
        group: A group of an optimizer.
        states: The states of its parameters.
        optimizer_name: The name of the optimizer, for the error.
        cuts: How the sharded weights are cut over ranks.

    Raises:
        ValueError: A gradient is sparse.
    """
    is_light = group.get("memory_light", False)
    parts: list[Part] = []
    # Look at each parameter once: the step of 10⁴ small tensors is mostly Python.
    for parameter in group["params"]:
        gradient = parameter.grad
        if gradient is not None:
            if gradient.is_sparse:
                raise _sparse_refusal(parameter, optimizer_name)
            state = states.get(parameter, {})
            average = gradient if is_light else state["momentum"]
            part = Part(parameter, gradient, average, state.get("compensation"), cuts.get(parameter) if cuts else None)
            parts.append(_held_here(part) if part.cut or isinstance(parameter, DTensor) else part)
    return parts


def _held_here(part: Part) -> Part:
    """Return views of what this rank holds."""
    weight, gradient, average, compensation, cut = part
    remainder = None if compensation is None else local_part(compensation)
    if cut is not None and cut.replica is not None:
        region = index_of(cut.own_region())
        return Part(weight.detach()[region], gradient[region], local_part(average), remainder, cut)
    if not isinstance(weight, DTensor):
        return part
    here, of_gradient = local_part(weight), local_part(gradient, weight)
    # In memory-light mode they are the same tensor.
    return Part(here, of_gradient, of_gradient if average is gradient else local_part(average), remainder, cut)


def parameters_with_gradient(group: Mapping[str, Any], optimizer_name: str) -> list[Tensor]:
    """Return parameters that have a gradient. The others stay as they are, as in torch: an unused expert must not
    shrink.

    Raises:
        ValueError: A gradient is sparse.
    """
    parameters: list[Tensor] = []
    for parameter in group["params"]:
        gradient = parameter.grad
        if gradient is not None:
            if gradient.is_sparse:
                raise _sparse_refusal(parameter, optimizer_name)
            parameters.append(parameter)
    return parameters


def _sparse_refusal(parameter: Tensor, optimizer_name: str) -> ValueError:
    remedy = f"it must be dense for {optimizer_name}, so use Embedding(sparse=False)"
    return ValueError(f"the gradient of a parameter of shape {tuple(parameter.shape)} is sparse; {remedy}")
