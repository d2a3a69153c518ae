"""One parameter of a watched optimizer: what it is, whether and when it has moved, and what readings need of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from steadydecay.groups.matrix_blocks import blocks_of, matrix_shape
from steadydecay.groups.weight_names import names_in_records
from steadydecay.monitor.host import Number
from steadydecay.monitor.real_parts import real_part
from steadydecay.monitor.watched_group import WatchedGroup
from steadydecay.parallel.shards import is_here, sharding_of
from steadydecay.tensors.low_precision import exact, is_low_precision

SIGN_NORM_ROLES = ("output", "embedding")


@final
class WatchedLayer:
    """A parameter while it is watched.

    Attributes:
        position: Its position among the optimizer's parameters.
        name: Its name in the group's `param_names`, or else "group_<index>.<position>"; unique in the optimizer.
        group: Its group.
        parameter: The weight.
        sharding: How the weight is sharded over ranks.
        matrix_shape: (rows, columns) of the whole weight as one matrix.
        blocks: The matrices in it.
        has_sign_norm: Whether it is an output layer or an embedding.
        is_moved: Whether the current step moves it, because it has a gradient.
        is_warm: Whether a measured step with an lr other than 0 has moved it, so that the vectors of its spectral norm
            are its own.
    """

    def __init__(self, position: int, name: str, group: WatchedGroup, parameter: Tensor) -> None:
        self.position, self.name, self.group, self.parameter = position, name, group, parameter
        self.sharding = sharding_of(parameter)
        shape, settings = tuple(parameter.shape), group.settings
        if parameter.is_complex():
            self.matrix_shape, self.blocks, self.has_sign_norm = matrix_shape({}, (*shape, 2)), (), False
        else:
            self.matrix_shape, self.blocks = matrix_shape(settings, shape), tuple(blocks_of(settings, shape))
            self.has_sign_norm = settings.get("role") in SIGN_NORM_ROLES and len(shape) > 1
        self.is_moved = self.is_warm = self._has_moved = False
        # The time of its group that passed before it existed, or while it had no gradient.
        self._missed = group.time
        # The times at the first and at the last measured step.
        self._times: tuple[Number, Number] | None = None

    @property
    def is_new(self) -> bool:
        """Whether no step of the layer has been measured."""
        return self._times is None

    @property
    def is_turned(self) -> bool:
        """Whether the current step may change its singular vectors.

        This determines the number of collectives, on which the ranks that share the weight must agree even if some of
        them have no gradient.
        """
        return (self.is_moved or self.sharding is not None) and self.group.can_move

    def look_for_gradient(self) -> None:
        """Find out whether the step moves the layer, which it does if the layer has a gradient."""
        self.is_moved = self.parameter.grad is not None

    def miss_step(self) -> None:
        """Count a step of the group that does not move the layer."""
        self._missed = self._missed + 2 * self.group.decay

    def here(self) -> Tensor:
        """Return the local part of the weight as it is stored."""
        return real_part(self.parameter)

    def exact_here(self) -> Tensor:
        """Return the local part, with what rounding has removed from it if the optimizer keeps that."""
        here, kept = self.here(), self.compensation()
        return here if kept is None else exact(here, real_part(kept, self.parameter))

    def compensation(self) -> Tensor | None:
        """Return what rounding has removed from a bfloat16 or float16 weight, if its optimizer keeps that."""
        return self.group.compensation(self.parameter) if is_low_precision(self.parameter) else None

    def tensors(self) -> "LayerTensors":
        """Return the tensors of the layer after a step."""
        gradient, momentum = self.group.gradient_and_momentum(self.parameter)
        second = None if gradient is None else self.group.second_moment(self.parameter)
        return LayerTensors(self, gradient, momentum, *(second or (None, 1.0)))

    def measured(self, tensors: "LayerTensors") -> "MeasuredLayer":
        """Return the layer as it is now, for a measurement of these tensors."""
        return MeasuredLayer(
            layer=self,
            is_moved=self.is_moved,
            has_ever_moved=self.is_moved or self._has_moved,
            has_gradient=tensors.gradient is not None,
            has_momentum=tensors.momentum is not None,
            has_second_moment=tensors.average is not None,
            is_exact=self.compensation() is not None,
        )

    def times(self) -> tuple[Number, Number]:
        """Return the time constants that had passed at its first measured step, and now."""
        time = self.group.time - self._missed
        return time if self._times is None else self._times[0], time

    def finish_step(self, first_time: Number, time: Number) -> Number:
        """Record a measured step and return the time constants since the previous one, or 0 at the first."""
        elapsed = 0.0 if self._times is None else time - self._times[1]
        self._times = first_time, time
        self._has_moved = self._has_moved or self.is_moved
        self.is_warm = self.is_warm or self.is_turned
        return elapsed

    def state(self) -> dict[str, Any]:
        """Return what must be kept to resume exactly."""
        return {
            "missed": float(self._missed),
            "times": None if self._times is None else (float(self._times[0]), float(self._times[1])),
            "has_moved": self._has_moved,
            "is_warm": self.is_warm,
        }

    def restore(self, state: Mapping[str, Any], has_vectors: bool) -> None:
        """Load what `state` returned. The layer stays cold if the vectors of its spectral norm were not kept."""
        self._missed, self._times, self._has_moved = state["missed"], state["times"], state["has_moved"]
        self.is_warm = state["is_warm"] and has_vectors


class LayerTensors(NamedTuple):
    """A layer after a step, with what its optimizer has besides the weight. None stands for what does not exist.

    Attributes:
        layer: The layer.
        gradient, momentum: Those of its parameter.
        average: The average of squared gradients that divides an update of Adam; None also without a gradient.
        correction: The bias correction 1 - β₂^t of the average.
    """

    layer: WatchedLayer
    gradient: Tensor | None
    momentum: Tensor | None
    average: Tensor | None
    correction: Number

    def here(self, tensor: Tensor | None, like: Tensor) -> Tensor:
        """Return the local part of one of them in the layout of `like`. The weight stands in for one that does not
        exist.

        So batches stay complete.
        """
        return real_part(self.layer.parameter if tensor is None else tensor, like)


@final
@dataclass(slots=True)
class MeasuredLayer:
    """A layer at a measured step, as readings need it. It is not a tuple, so that a transfer to the host leaves it
    alone.

    Attributes:
        layer: The layer.
        is_moved: Whether the step moved it, because it had a gradient.
        has_ever_moved: Whether this or an earlier measured step moved it.
        has_gradient, has_momentum, has_second_moment: What was measured besides the weight.
        is_exact: Whether what rounding has removed from the weight is kept, and was measured with it.
    """

    layer: WatchedLayer
    is_moved: bool
    has_ever_moved: bool
    has_gradient: bool
    has_momentum: bool
    has_second_moment: bool
    is_exact: bool

    def rounding_sq(self, weight_sq: float) -> float:
        """Return what rounding to the weight's dtype may have added to the square of an update, from ‖θ‖².

        Errors are uniform within half a unit in the last place, which is at most ε|w|. A weight that is kept in two
        numbers is rounded in the second, whose unit is at most half a unit of the first.
        """
        parameter = self.layer.parameter
        epsilon = torch.finfo(parameter.dtype).eps
        return (epsilon**2 / 2 if self.is_exact else epsilon) ** 2 / 12 * weight_sq


def layers_of(groups: Sequence[WatchedGroup]) -> list[WatchedLayer]:
    """Return every parameter with entries on any rank, except those whose mesh does not include this rank."""
    count = Counter(name for group in groups for name in names_in_records(group.settings, group.index))
    layers: list[WatchedLayer] = []
    for group in groups:
        names = names_in_records(group.settings, group.index)
        for position, (name, parameter) in enumerate(zip(names, group.settings["params"], strict=True)):
            unique = name if count[name] == 1 else f"group_{group.index}.{position}.{name}"
            if parameter.numel() and is_here(parameter):
                layers.append(WatchedLayer(len(layers), unique, group, parameter))
    return layers
