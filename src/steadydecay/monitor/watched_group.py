"""One group of a watched optimizer: how its decay acts, how long it has acted, and what readings need of it."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, final

from torch import Tensor
from torch.optim import Optimizer

from steadydecay.groups.prediction import applied_decay, predicted_norm_sq, step_decay
from steadydecay.groups.settings import may_move, peak_lr
from steadydecay.known_optimizers.decay_action import decay_action
from steadydecay.known_optimizers.optimizer_state import (
    Direction,
    bias_correction,
    direction_of,
    momentum_tensor,
    second_moment,
)
from steadydecay.known_optimizers.table import known_optimizer, why_momentum_is_unknown
from steadydecay.known_optimizers.update_momentum import NO_MOMENTUM
from steadydecay.known_optimizers.wrappers import owner_of
from steadydecay.monitor.host import Number
from steadydecay.theory import effective_lr

# From this share of the reference lr on, a step counts as one at the peak, which few schedules reach exactly.
NEAR = 0.9


@final
class WatchedGroup:
    """A group while it is watched.

    Attributes:
        index: The index of the group in the optimizer.
        settings: The group itself, which schedulers change.
        owner: The optimizer that steps it; in a chain, the link.
        known: The entry of that optimizer in the table, or None if it has none or its momentum is not known.
        decay: η of the current step, or 0 if it is not known.
        time: The number of time constants of the squared norm that have passed, Σ 2η.
        peak: Plain hyperparameters as they were at the largest lr of a step so far, or only the lr if it is a tensor.
    """

    def __init__(
        self, optimizer: Optimizer, index: int, time: Number = 0.0, peak: Mapping[str, Any] | None = None
    ) -> None:
        self.index, self.settings = index, optimizer.param_groups[index]
        self.owner = owner_of(optimizer, self.settings)
        entry = known_optimizer(self.owner, self.settings)
        self.known = None if entry is None or entry.momentum is None else entry
        self._is_decoupled = decay_action(self.owner, self.settings).action == "decoupled"
        self.decay: Number = 0.0
        self.time = time
        self.peak: Mapping[str, Any] = peak or {}

    @property
    def is_decay_known(self) -> bool:
        """Whether η is known, which it is not if L2, a cautious decay or a projection replaces it."""
        is_as_told = self._is_decoupled or not self.settings.get("weight_decay")
        return is_as_told and "decay_replacement" not in self.settings

    @property
    def why_unpredictable(self) -> str:
        """A clause that says why the norms of a group that decays cannot be predicted; "" if they can."""
        has_decay = bool(self.settings.get("weight_decay")) or self.settings.get("steady_norm_sq") is not None
        is_open = has_decay and self.is_decay_known and self.known is None
        return why_momentum_is_unknown(self.owner, self.settings) if is_open else ""

    @property
    def can_move(self) -> bool:
        """Whether the lr may differ from 0. A tensor is not read."""
        return may_move(self.settings.get("lr"))

    def begin_at_peak(self, asked: float | None) -> None:
        """Take the schedule's largest lr, if it is known or was `asked` for, as the largest lr so far.

        Other hyperparameters count as they are now, except for the momentum to which OneCycleLR lowers it at the peak.
        """
        if self.settings.get("lr") is None or self.peak:
            return
        lr, momentum = peak_lr(self.settings, 0.0, asked), self.settings.get("base_momentum")
        at_peak: dict[str, Any] = {}
        if momentum is not None:
            written = {"momentum": momentum, "betas": (momentum, *self.settings.get("betas", ())[1:])}
            at_peak = {key: value for key, value in written.items() if key in self.settings}
        self.peak = {"lr": lr, **at_peak} if lr > 0 else {}

    def take_step(self) -> None:
        """Let the time of the current step pass, without reading tensors."""
        self.decay = self._decay_of_step()
        self.time = self.time + 2 * self.decay
        lr, highest = self.settings.get("lr"), self.peak.get("lr", 0.0)
        if isinstance(lr, Tensor):
            self.peak = {"lr": lr.detach().clamp(min=highest)}
        elif lr is not None and lr >= highest:
            self.peak = {key: value for key, value in self.settings.items() if _is_plain(value)}

    def gradient_and_momentum(self, parameter: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return a parameter's gradient and the momentum that the optimizer stores, as the step has left them."""
        # In this mode `.grad` holds the average, and the step has scaled it.
        if self.settings.get("memory_light"):
            return None, None
        return parameter.grad, momentum_tensor(self.known, self._state_of(parameter), parameter)

    def compensation(self, parameter: Tensor) -> Tensor | None:
        """Return what rounding has removed from a low-precision parameter, if one of our optimizers keeps it."""
        is_kept = self.settings.get("low_precision") == "compensated"
        return self._state_of(parameter).get("compensation") if is_kept else None

    def second_moment(self, parameter: Tensor) -> tuple[Tensor, Number] | None:
        """Return Adam's average of squared gradients and its bias correction 1 - β₂^t, or None for other optimizers."""
        if self.known is None or not self.known.second_moments:
            return None
        state = self._state_of(parameter)
        average = second_moment(self.known, state, parameter)
        return None if average is None else (average, bias_correction(self.settings["betas"][1], state["step"]))

    def measured(self) -> "MeasuredGroup":
        """Return the group as it is now. Tensors are copied, because schedulers fill them in place."""
        kept = {key: _copied(value) for key, value in self.settings.items() if key not in ("params", "param_names")}
        found_inf = _copied(getattr(self.owner, "found_inf", None))
        return MeasuredGroup(self, kept, self.peak, self.decay, self.is_decay_known, found_inf)

    def _state_of(self, parameter: Tensor) -> Mapping[str, Any]:
        # Use `get`, because the state is a defaultdict, and torch treats an empty entry as existing state.
        return self.owner.state.get(parameter, {})

    def _decay_of_step(self) -> Number:
        group = self.settings
        is_replaced = not self._is_decoupled or "decay_replacement" in group
        if is_replaced or "weight_decay" not in group or group.get("lr") is None:
            return 0.0
        decay = step_decay(group, NO_MOMENTUM if self.known is None else self.known)
        # A GradScaler's fused step skips itself and its decay if gradients overflowed.
        found_inf = getattr(self.owner, "found_inf", None)
        decay = decay if found_inf is None else decay * (1 - found_inf)
        # float64, because thousands of them are added up.
        return decay.detach().double() if isinstance(decay, Tensor) else decay


def group_name(settings: Mapping[str, Any], index: int) -> str:
    """Return the name under which groups are reported together."""
    return settings.get("role") or settings.get("name") or f"group_{index}"


class MeasuredGroup(NamedTuple):
    """A group at a measured step.

    Attributes:
        group: The watched group.
        settings: Its keys except the parameters. Numbers are read from them once they are on the host.
        peak: Hyperparameters at the largest lr of a step so far.
        decay: η of the step.
        is_decay_known: Whether weight_decay acted as 1-η.
        found_inf: The flag of a GradScaler's fused step, which is not 0 if it has skipped itself.
    """

    group: WatchedGroup
    settings: Mapping[str, Any]
    peak: Mapping[str, Any]
    decay: Number
    is_decay_known: bool
    found_inf: Number | None

    @property
    def name(self) -> str:
        """The name under which groups are reported together: role, or else name, or else "group_<index>"."""
        return group_name(self.settings, self.group.index)

    @property
    def lr(self) -> float | None:
        return None if self.settings.get("lr") is None else float(self.settings["lr"])

    @property
    def effective_lr(self) -> float | None:
        known = self.group.known
        return None if self.lr is None or known is None else effective_lr(self.lr, known.of(self.settings))

    @property
    def has_decay(self) -> bool:
        """Whether a known decay acts on the norms."""
        # The correction writes 0 to weight_decay at lr = 0.
        coefficients = (self.settings.get("weight_decay"), self.settings.get("reference_weight_decay"))
        return (any(coefficients) or self.settings.get("steady_norm_sq") is not None) and self.is_decay_known

    @property
    def has_moved(self) -> bool:
        """Whether the step may have moved weights: its lr is not 0, and no GradScaler has skipped it."""
        return self.lr != 0 and not self.found_inf

    @property
    def at_peak(self) -> Mapping[str, Any]:
        """Return the settings at the schedule's peak, the largest lr so far until that is near the `reference_lr`."""
        highest = {**self.settings, **self.peak}
        reference_lr, momentum = self.settings.get("reference_lr"), self.group.known and self.group.known.momentum
        if reference_lr is None or momentum is None or NEAR * reference_lr <= highest["lr"]:
            return highest
        written = momentum.written or (lambda group, beta: {})
        return {**highest, "lr": reference_lr, **written(highest, self.settings["reference_momentum"])}

    def direction(self) -> Direction | None:
        """Return the direction that the update normalises, if it is known."""
        return direction_of(self.group.known, self.settings)

    def predicted_norm_sq(self, shape: tuple[int, ...]) -> float | None:
        """Return ‖θ‖² of a parameter at the steady state by theory alone, or None if it is not predicted."""
        return self._predicted_norm_sq(self.settings, shape, float(self.decay))

    def norm_sq_of_added_sq(self, shape: tuple[int, ...]) -> float | None:
        """Return the same for an update whose measured ‖γu‖² is 1, to which it is proportional."""
        square, lr_sq = self._predicted_norm_sq(self.settings, shape, float(self.decay), 1.0), (self.lr or 0.0) ** 2
        return square / lr_sq if square is not None and lr_sq else None

    def norm_sq_at_peak(self, shape: tuple[int, ...]) -> float | None:
        """Return the same by theory at the peak of the schedule, whatever the lr of the step is."""
        if self.group.known is None or self.lr is None or not self.has_decay:
            return None
        return self._predicted_norm_sq(self.at_peak, shape, applied_decay(self.at_peak, self.group.known))

    def _predicted_norm_sq(
        self, settings: Mapping[str, Any], shape: tuple[int, ...], decay: float, update_sq: float | None = None
    ) -> float | None:
        if self.group.known is None or not self.is_decay_known or not 0 < decay < 1:
            return None
        square = predicted_norm_sq(settings, shape, self.group.known, update_sq)
        return square if math.isfinite(square) else None


def _is_plain(value: Any) -> bool:
    """Return whether a value is a number, or a pair of numbers (betas)."""
    return isinstance(value, int | float) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value
