"""One group of a watched optimizer: how its decay acts, how long it has acted, and what a reader must know of it."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, final

from torch import Tensor
from torch.optim import Optimizer

from steadydecay.groups.prediction import predicted_norm_sq, step_decay
from steadydecay.known_optimizers.decoupled_decay import require_decoupled
from steadydecay.known_optimizers.optimizer_state import (
    Direction,
    bias_correction,
    direction_of,
    momentum_tensor,
    second_moment,
)
from steadydecay.known_optimizers.update_momentum import NO_MOMENTUM, known_update_momentum
from steadydecay.known_optimizers.wrappers import owner_of
from steadydecay.monitor.host import Number
from steadydecay.theory import effective_lr


@final
class WatchedGroup:
    """A group while it is watched.

    Attributes:
        index: of the group in the optimizer.
        settings: the group itself, which schedulers change.
        owner: the optimizer that steps it: of a chain, the link.
        momentum: how to read its momentum.
        decay: η of the step that is being taken; 0 where it is not known.
        time: time constants of the squared norm that have passed, Σ 2η.
    """

    def __init__(self, optimizer: Optimizer, index: int, time: Number = 0.0) -> None:
        self.index, self.settings = index, optimizer.param_groups[index]
        self.owner = owner_of(optimizer, self.settings)
        self.momentum = known_update_momentum(self.owner, self.settings) or NO_MOMENTUM
        self._is_decoupled = _is_decoupled(self.owner, self.settings, index)
        self.decay: Number = 0.0
        self.time = time

    @property
    def is_decay_known(self) -> bool:
        """Whether η is known: not where L2, a cautious decay or a projection takes its place."""
        is_as_told = self._is_decoupled or not self.settings.get("weight_decay")
        return is_as_told and "decay_replacement" not in self.settings

    @property
    def can_move(self) -> bool:
        """Whether the lr is not known to be 0; one in a tensor is not looked at."""
        lr = self.settings.get("lr")
        return isinstance(lr, Tensor) or lr != 0

    def take_step(self) -> None:
        """Let the time of the step that is being taken pass, without a look at tensors."""
        self.decay = self._decay_of_step()
        self.time = self.time + 2 * self.decay

    def gradient_and_momentum(self, parameter: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """A parameter's gradient and what the optimizer keeps of its past, as the step has left them."""
        # There `.grad` holds the average, and the step has scaled it.
        if self.settings.get("memory_light"):
            return None, None
        return parameter.grad, momentum_tensor(self.owner, parameter)

    def second_moment(self, parameter: Tensor) -> tuple[Tensor, Number] | None:
        """Adam's average of a parameter's squared gradients, and its bias correction 1 - β₂^t; None of others."""
        found = second_moment(self.owner, parameter)
        return None if found is None else (found[0], bias_correction(self.settings["betas"][1], found[1]))

    def measured(self) -> "MeasuredGroup":
        """The group as it is now; tensors are copied, because schedulers fill them in place."""
        kept = {key: _copied(value) for key, value in self.settings.items() if key not in ("params", "param_names")}
        return MeasuredGroup(self, kept, self.decay, self.is_decay_known)

    def _decay_of_step(self) -> Number:
        group = self.settings
        is_replaced = not self._is_decoupled or "decay_replacement" in group
        if is_replaced or "weight_decay" not in group or group.get("lr") is None:
            return 0.0
        decay = step_decay(group, self.momentum)
        # A GradScaler's fused step skips itself, and its decay, where gradients overflowed.
        found_inf = getattr(self.owner, "found_inf", None)
        decay = decay if found_inf is None else decay * (1 - found_inf)
        # Thousands of them are added up.
        return decay.detach().double() if isinstance(decay, Tensor) else decay


class MeasuredGroup(NamedTuple):
    """A group at a measured step.

    Attributes:
        group: how to read it.
        settings: its keys but the parameters. Numbers are read from them once they are on the host.
        decay: η of the step.
        is_decay_known: whether weight_decay acted as 1-η.
    """

    group: WatchedGroup
    settings: Mapping[str, Any]
    decay: Number
    is_decay_known: bool

    @property
    def name(self) -> str:
        """Under which groups are reported together: role, else name, else "group_<index>"."""
        return self.settings.get("role") or self.settings.get("name") or f"group_{self.group.index}"

    @property
    def lr(self) -> float | None:
        return None if self.settings.get("lr") is None else float(self.settings["lr"])

    @property
    def effective_lr(self) -> float | None:
        return None if self.lr is None else effective_lr(self.lr, self.group.momentum.of(self.settings))

    @property
    def has_decay(self) -> bool:
        """Whether a decay that is known holds the norms."""
        has_coefficient = bool(self.settings.get("weight_decay")) or self.settings.get("steady_norm_sq") is not None
        return has_coefficient and self.is_decay_known

    def direction(self) -> Direction | None:
        """The direction that the update normalises, where it is known."""
        return direction_of(self.group.owner, self.settings)

    def predicted_norm_sq(self, shape: tuple[int, ...], added_sq: float | None = None) -> float | None:
        """‖θ‖² of a parameter at the steady state, by theory or the measured ‖γu‖²; None where it is not predicted."""
        update_sq = None if added_sq is None else added_sq / float(self.settings["lr"]) ** 2
        square = predicted_norm_sq(self.settings, shape, self.group.momentum, update_sq)
        return square if math.isfinite(square) else None


def _is_decoupled(owner: Optimizer, group: Mapping[str, Any], index: int) -> bool:
    """Whether a weight_decay of the group would multiply the weights by 1 - lr · weight_decay."""
    try:
        require_decoupled(owner, {**group, "weight_decay": 1.0}, index)
    except ValueError:
        return False
    return True


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value
