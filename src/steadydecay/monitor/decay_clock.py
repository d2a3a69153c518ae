"""The decay of each step, and how many time constants of the squared norm have passed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

from torch import Tensor
from torch.optim import Optimizer

from steadydecay.groups.prediction import step_decay
from steadydecay.known_optimizers.decoupled_decay import require_decoupled
from steadydecay.known_optimizers.update_momentum import UpdateMomentum
from steadydecay.monitor.host import Number
from steadydecay.monitor.watched_layers import Layer


def is_decoupled(owner: Optimizer, group: Mapping[str, Any], index: int) -> bool:
    """Whether a weight_decay of the group would multiply the weights by 1 - lr · weight_decay."""
    try:
        require_decoupled(owner, {**group, "weight_decay": 1.0}, index)
    except ValueError:
        return False
    return True


def is_decay_known(group: Mapping[str, Any], decoupled: bool) -> bool:
    """Whether η of the group's steps is known: not where L2, a cautious decay or a projection takes its place."""
    return (decoupled or not group.get("weight_decay")) and "decay_replacement" not in group


def decay_of_step(owner: Optimizer, group: Mapping[str, Any], momentum: UpdateMomentum, decoupled: bool) -> Number:
    """η of the step that is being taken, without a look at tensors; 0 where it is not known."""
    if not decoupled or "decay_replacement" in group or "weight_decay" not in group or group.get("lr") is None:
        return 0.0
    decay = step_decay(group, momentum)
    # A GradScaler's fused step skips itself, and its decay, where gradients overflowed.
    found_inf = getattr(owner, "found_inf", None)
    decay = decay if found_inf is None else decay * (1 - found_inf)
    # Thousands of them are added up.
    return decay.detach().double() if isinstance(decay, Tensor) else decay


@final
class DecayClock:
    """Σ 2η by group, and by layer what of it passed before the layer was there or while it had no gradient."""

    def __init__(self) -> None:
        self._passed: list[Number] = []
        self._missed: dict[str, Number] = {}

    def take_in(self, groups: int, layers: Iterable[Layer]) -> None:
        """Groups and layers, of which some may be new: their time begins now."""
        self._passed += [0.0] * (groups - len(self._passed))
        for layer in layers:
            self._missed.setdefault(layer.name, self._passed[layer.group])

    def advance(self, decays: Sequence[Number], idle: Iterable[Layer]) -> None:
        """One step: η of each group, and the layers that it has not moved."""
        for index, decay in enumerate(decays):
            self._passed[index] = self._passed[index] + 2 * decay
        for layer in idle:
            self._missed[layer.name] = self._missed[layer.name] + 2 * decays[layer.group]

    def of(self, layer: Layer) -> Number:
        """Time constants that have passed for a layer."""
        return self._passed[layer.group] - self._missed[layer.name]

    def state_dict(self) -> dict[str, Any]:
        missed = {name: float(number) for name, number in self._missed.items()}
        return {"passed": [float(number) for number in self._passed], "missed": missed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._passed, self._missed = list(state["passed"]), dict(state["missed"])
