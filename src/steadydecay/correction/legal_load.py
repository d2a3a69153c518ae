"""What a state dict may have brought that a corrected step would fail on when some weights have moved."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Adam, Optimizer

from steadydecay.correction.marks import OWN_REFERENCES, is_marked
from steadydecay.correction.rivals import norms_to_hold
from steadydecay.groups.settings import Group
from steadydecay.groups.weight_names import weight_names
from steadydecay.known_optimizers.known_optimizer import KnownOptimizer
from steadydecay.known_optimizers.table import known_optimizer

# What torch's Adam and AdamW read of a weight that has any state.
TORCH_ADAM = ("step", "exp_avg", "exp_avg_sq")


def require_legal_load(optimizer: Optimizer) -> None:
    """ValueError unless the marks of every corrected group are whole and the state of its weights has their shapes.

    Nothing is known of what an optimizer that is not in the table keeps, or of other tensors than moments.
    """
    is_adam = isinstance(optimizer, Adam)
    for index, group in enumerate(optimizer.param_groups):
        if is_marked(group):
            _require_marks(group, f"group {index}")
        known = known_optimizer(optimizer, group)
        if known is not None:
            for name, parameter in zip(weight_names(group, index), group["params"], strict=True):
                state, needed = optimizer.state.get(parameter, {}), TORCH_ADAM if is_adam else ()
                _require_moments(state, parameter, known, name)
                if state and (missing := [key for key in needed if key not in state]):
                    lacking = f"the state of {name} lacks {', '.join(map(repr, missing))}"
                    raise ValueError(f"{lacking}; it has {', '.join(map(repr, state))}: load a whole state")


def _require_marks(group: Group, name: str) -> None:
    follows_schedule = "decay_replacement" not in group or "replaced_decay" in group
    needed = OWN_REFERENCES if follows_schedule else ("replaced_weight_decay",)
    missing = [key for key in needed if key not in group]
    if missing:
        remedy = "load a whole state, or attach the correction anew to an optimizer without these keys"
        raise ValueError(f"{name} carries a correction without {', '.join(map(repr, missing))}: {remedy}")
    if "hyperball_norms" in group:
        norms_to_hold(group, name)


def _require_moments(state: Mapping[str, Any], parameter: Tensor, known: KnownOptimizer, name: str) -> None:
    for key in (known.momentum_state, *known.second_moments):
        held = state.get(key)
        if isinstance(held, Tensor) and tuple(held.shape) != tuple(parameter.shape):
            found = f"{key!r} in the state of {name} has the shape {tuple(held.shape)}"
            raise ValueError(f"{found}; legal is {tuple(parameter.shape)}: load the state of a model with these shapes")
