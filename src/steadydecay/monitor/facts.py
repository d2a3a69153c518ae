"""What the host must know of a measured step to read it later."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor
from torch.optim import Optimizer

from steadydecay.known_optimizers.update_momentum import UpdateMomentum
from steadydecay.monitor.host import Number
from steadydecay.monitor.watched_layers import Layer, group_name


@final
@dataclass(frozen=True)
class GroupFacts:
    """A group at a measured step.

    Attributes:
        name: under which it is reported.
        owner: the optimizer that steps it.
        settings: its keys but the parameters; tensors are copies.
        momentum: how to read its momentum.
        decay: η of the step.
        is_decay_known: whether weight_decay acts as 1-η.
    """

    name: str
    owner: Optimizer
    settings: Mapping[str, Any]
    momentum: UpdateMomentum
    decay: Number
    is_decay_known: bool


@final
@dataclass(frozen=True)
class LayerFacts:
    """A layer at a measured step, and what of it was measured.

    Attributes:
        is_moved: it had a gradient.
        has_ever_moved: in this or an earlier measured step.
        times: time constants passed at its first report and now.
    """

    layer: Layer
    shape: tuple[int, ...]
    is_moved: bool
    has_ever_moved: bool
    times: tuple[Number, Number]
    has_gradient: bool
    has_momentum: bool
    has_second_moment: bool


def facts_of(
    group: Mapping[str, Any], index: int, owner: Optimizer, momentum: UpdateMomentum, decay: Number, is_known: bool
) -> GroupFacts:
    """A group as it is now; tensors are copied, because schedulers fill them in place."""
    settings = {key: _copied(value) for key, value in group.items() if key not in ("params", "param_names")}
    return GroupFacts(group_name(group, index), owner, settings, momentum, decay, is_known)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value
