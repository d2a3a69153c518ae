"""What takes part in a step: weights that have a gradient, each with what its step reads and writes."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from steadydecay.groups.settings import Group

Number = float | Tensor


class Part(NamedTuple):
    """A weight, or rows of it, with what its step reads and writes.

    Attributes:
        weight: θ.
        gradient: g.
        average: m; the gradient itself in memory-light mode.
        compensation: what rounding took from a low-precision weight, where it is kept.
    """

    weight: Tensor
    gradient: Tensor
    average: Tensor
    compensation: Tensor | None

    def split_rows(self, rows: int) -> Iterator["Part"]:
        """Views of this many rows each."""
        weight, gradient, average, compensation = self
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


# Takes a batch of a group, the group, and η, and steps the batch.
Advance = Callable[[StepBatch, Group, Number], None]


def batch_of(parts: list[Part]) -> StepBatch:
    """At least one part, as one batch."""
    return StepBatch(*map(list, zip(*parts, strict=True)))


def real_view(part: Part) -> Part:
    """A complex weight and what goes with it, each entry as two numbers: (..., 2); none is copied but conjugates."""
    views = [None if tensor is None else torch.view_as_real(tensor.resolve_conj()) for tensor in part]
    return Part(*views)  # pyright: ignore[reportArgumentType]  (only a compensation is None)


def parts_of(group: Group, states: Mapping[Tensor, dict[str, Tensor]], optimizer_name: str) -> list[Part]:
    """Each whole weight of a group that has a gradient, with its state.

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
            parts.append(Part(parameter, gradient, average, state.get("compensation")))
    return parts


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
