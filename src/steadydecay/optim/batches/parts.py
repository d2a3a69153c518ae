"""What takes part in a step: weights that have a gradient, each with what its step reads and writes."""

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
    """A weight, or rows of it, with what its step reads and writes: plain tensors, of a cut weight what is here.

    Attributes:
        weight: θ.
        gradient: g.
        average: m; the gradient itself in memory-light mode.
        compensation: what rounding took from a low-precision weight, where it is kept.
        cut: how the whole weight is cut over ranks, if it is.
    """

    weight: Tensor
    gradient: Tensor
    average: Tensor
    compensation: Tensor | None
    cut: Cut | None = None

    def seen_as(self, views: Sequence[Tensor]) -> "Part":
        """A part of views of its tensors, in their order."""
        weight, gradient, average, *remainder = views
        return Part(weight, gradient, average, remainder[0] if remainder else None, self.cut)

    def split_rows(self, rows: int) -> Iterator["Part"]:
        """Views of this many rows each."""
        weight, gradient, average, compensation, _ = self
        for start in range(0, len(weight), rows):
            of_rows = slice(start, start + rows)
            remainder = None if compensation is None else compensation[of_rows]
            yield Part(weight[of_rows], gradient[of_rows], average[of_rows], remainder)


class PartsOfGroup(NamedTuple):
    """Everything that one step does to one group.

    Attributes:
        group: the group, with its hyperparameters.
        decay: η of this step.
        parts: its weights that have a gradient.
    """

    group: Group
    decay: Number
    parts: list[Part]


class StepBatch(NamedTuple):
    """Parts that are stepped together, of one device and dtype: a list of each of the fields of `Part`."""

    weights: list[Tensor]
    gradients: list[Tensor]
    averages: list[Tensor]
    compensations: list[Tensor | None]
    cuts: list[Cut | None]


# Takes a batch of a group, the group, and η, and steps the batch.
Advance = Callable[[StepBatch, Group, Number], None]


def batch_of(parts: list[Part]) -> StepBatch:
    """At least one part, as one batch, with gradients in the dtype of the averages."""
    batch, dtype = StepBatch(*map(list, zip(*parts, strict=True))), parts[0].average.dtype
    same = [gradient if gradient.dtype == dtype else gradient.to(dtype) for gradient in batch.gradients]
    return batch._replace(gradients=same)


def real_view(part: Part) -> Part:
    """A complex weight and what goes with it, each entry as two numbers: (..., 2); none is copied but conjugates."""
    views = [torch.view_as_real(tensor.resolve_conj()) for tensor in part[:4] if tensor is not None]
    return part.seen_as(views)


def parts_of(
    group: Group,
    states: Mapping[Tensor, dict[str, Tensor]],
    optimizer_name: str,
    cuts: Mapping[Tensor, Cut],
) -> list[Part]:
    """Each weight of a group that has a gradient, with its state.

    Args:
        group: of an optimizer.
        states: of its parameters.
        optimizer_name: for the person who meets the error.
        cuts: of the weights that are cut over ranks.

    Raises:
        ValueError: a sparse gradient.
    """
    is_light = group.get("memory_light", False)
    parts: list[Part] = []
    # One look at each: the step of 10⁴ small tensors is for the most part Python.
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
    """Views of what this rank holds."""
    weight, gradient, average, compensation, cut = part
    remainder = None if compensation is None else local_part(compensation)
    if cut is not None and cut.replica is not None:
        region = index_of(cut.own_region())
        return Part(weight.detach()[region], gradient[region], local_part(average), remainder, cut)
    if not isinstance(weight, DTensor):
        return part
    here, of_gradient = local_part(weight), local_part(gradient, weight)
    # In memory-light mode they are one.
    return Part(here, of_gradient, of_gradient if average is gradient else local_part(average), remainder, cut)


def parameters_with_gradient(group: Mapping[str, Any], optimizer_name: str) -> list[Tensor]:
    """Parameters that have a gradient; the others stay as they are, as in torch: an unused expert must not shrink.

    Raises:
        ValueError: a sparse gradient.
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
    remedy = f"{optimizer_name} takes dense ones: Embedding(sparse=False)"
    return ValueError(f"gradient of a {tuple(parameter.shape)} parameter is sparse; {remedy}")
