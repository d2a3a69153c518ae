"""Check a loaded state dict for what would make a corrected step fail after some weights have moved."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Adam, Optimizer

from steadydecay.correction.hyperball import norms_to_hold
from steadydecay.correction.marks import OWN_REFERENCES, is_marked
from steadydecay.groups.settings import Group, saved_arguments
from steadydecay.groups.weight_names import weight_names
from steadydecay.known_optimizers.known_optimizer import KnownOptimizer
from steadydecay.known_optimizers.table import known_optimizer
from steadydecay.tensors.legal_state import require_like_weight, require_one_number

# The state that torch's Adam and AdamW read for a weight that has any.
TORCH_ADAM = ("step", "exp_avg", "exp_avg_sq")


def require_legal_load(optimizer: Optimizer) -> None:
    """Raise ValueError unless the marks of every corrected group are complete and the state of its weights has their
    shapes.

    A group of torch's own optimizers must also have the constructor's arguments, because their step reads all of them.
    For an optimizer that is not in the table, and for tensors other than moments, nothing can be checked.
    """
    is_adam, is_torchs = isinstance(optimizer, Adam), type(optimizer).__module__.startswith("torch.optim")
    for index, group in enumerate(optimizer.param_groups):
        if is_marked(group):
            _require_marks(group, f"group {index}")
        if is_torchs:
            _require_arguments(group, optimizer.defaults, index)
        known = known_optimizer(optimizer, group)
        if known is not None:
            for name, parameter in zip(weight_names(group, index), group["params"], strict=True):
                state = optimizer.state.get(parameter, {})
                # torch's SGD keeps None without momentum. In other optimizers only tensors are checked.
                held = {
                    key: value
                    for key, value in state.items()
                    if isinstance(value, Tensor) or (is_torchs and value is not None) or (is_adam and key in TORCH_ADAM)
                }
                _require_moments(held, parameter, known, name)
                if is_adam and state:
                    _require_adam_state(state, name)


def _require_adam_state(state: Mapping[str, Any], name: str) -> None:
    if "step" in state:
        require_one_number(state["step"], "step", name)
    if missing := [key for key in TORCH_ADAM if key not in state]:
        lacking = f"the state of {name} lacks {', '.join(map(repr, missing))}"
        raise ValueError(f"{lacking}; it only has {', '.join(map(repr, state))}. Load a complete state")


def _require_arguments(group: Group, defaults: Mapping[str, Any], index: int) -> None:
    missing = [key for key in saved_arguments(defaults) if key not in group]
    if missing:
        raise ValueError(f"group {index} lacks {', '.join(map(repr, missing))}. Load a state of the same optimizer")


def _require_marks(group: Group, name: str) -> None:
    follows_schedule = "decay_replacement" not in group or "replaced_decay" in group
    rule = () if "decay_replacement" in group else ("decay",)
    needed = (*rule, *OWN_REFERENCES) if follows_schedule else ("replaced_weight_decay",)
    missing = [key for key in needed if key not in group]
    if missing:
        remedy = "Load a complete state, or attach the correction again to an optimizer without these keys"
        raise ValueError(f"{name} has a correction without {', '.join(map(repr, missing))}. {remedy}")
    if "hyperball_norms" in group:
        norms_to_hold(group, name)


def _require_moments(held: Mapping[str, Any], parameter: Tensor, known: KnownOptimizer, name: str) -> None:
    for key in (known.momentum_state, *known.second_moments):
        if key in held:
            require_like_weight(held[key], parameter, key, name)
