"""How `weight_decay` acts in one group of an optimizer: θ ← (1-γλ)θ - γu, or otherwise."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from steadydecay.known_optimizers.known_optimizer import DecayAction, KnownOptimizer
from steadydecay.known_optimizers.table import known_optimizer

# Group keys, or attributes of the optimizer, and how the decay acts when they are true or false
# (torch; pytorch_optimizer; optimi; timm; heavyball; Dion).
WHEN_TRUE: dict[str, DecayAction] = {
    "constraint": "replaced",
    "corrected_weight_decay": "corrected",
    "normalized": "corrected",
    "decouple_lr": "relative",
    "fixed_decay": "independent",
    "unscaled_wd": "independent",
    "cautious_wd": "cautious",
    "cautious_weight_decay": "cautious",
}
WHEN_FALSE: dict[str, DecayAction] = dict.fromkeys(
    ("decoupled_weight_decay", "weight_decouple", "decouple_wd", "decoupled_decay", "decoupled"), "l2"
)
# Group keys with several values (Emerging-Optimizers).
BY_VALUE: dict[str, dict[Any, DecayAction]] = {
    "weight_decay_method": {"l2": "l2", "independent": "independent", "palm": "corrected", "decoupled": "decoupled"},
}
MEANINGS: dict[DecayAction, str] = {
    "corrected": "the optimizer corrects the decay itself, and correcting it again would make it follow lr³",
    "independent": "the decay does not follow the lr",
    "relative": "the decay of a step is not lr · weight_decay, because it follows the lr as a share of its peak",
    "l2": "which is added to the gradient as L2, where no decay rule can hold a norm",
    "replaced": "the step decays by the lr itself and ignores weight_decay",
}


class FoundDecay(NamedTuple):
    """How the decay of a group acts, and what determines it.

    Attributes:
        action: One of `DecayAction`.
        said_by: The group key or attribute that determines it, as "key=value"; empty if the optimizer's class does.
        remedy: What to set, or which optimizer to use, so that the decay is decoupled; empty if it is.
    """

    action: DecayAction
    said_by: str = ""
    remedy: str = ""


def decay_action(optimizer: Any, group: Mapping[str, Any]) -> FoundDecay:
    """Return how `weight_decay` acts in a group, as one of its keys, an attribute of the optimizer, or its class
    determines.

    Args:
        optimizer: The optimizer that steps the group, or None if only the group is known, as in a checkpoint.
        group: The keys of the group.
    """
    for key, action in WHEN_TRUE.items():
        if value := _said(optimizer, group, key):
            return FoundDecay(action, f"{key}={value!r}", f"{key}=False")
    for key, actions in BY_VALUE.items():
        value = _said(optimizer, group, key)
        if isinstance(value, str) and value in actions:
            return FoundDecay(actions[value], f"{key}={value!r}", f"{key}='decoupled'")
    switches = {key: value for key in WHEN_FALSE if (value := _said(optimizer, group, key)) is not None}
    off = next((key for key, value in switches.items() if not value), None)
    if off is not None:
        return FoundDecay(WHEN_FALSE[off], f"{off}={switches[off]!r}", f"{off}=True")
    known = None if optimizer is None else known_optimizer(optimizer, group)
    return _of_class(known, is_switched_on=bool(switches))


def require_decoupled(optimizer: Any, group: Mapping[str, Any], index: int) -> None:
    """Raise ValueError, with a remedy, if λ of the group means something other than θ ← (1-γλ)θ - γu.

    A cautious decay is accepted, because it is this decay wherever it does not oppose the update. A group with
    weight_decay 0 whose optimizer would add it to the gradient is accepted too.
    """
    found = decay_action(optimizer, group)
    if found.action in ("decoupled", "cautious"):
        return
    weight_decay = group.get("weight_decay", 0.0)
    where = f"group {index} of {type(optimizer).__name__}"
    if found.action == "l2":
        if weight_decay == 0 and group.get("steady_norm_sq") is None:
            return
        meaning = f"has weight_decay={float(weight_decay)!r}, {MEANINGS['l2']}"
        raise ValueError(f"{where} {meaning}; the decay must be decoupled, so use {found.remedy}")
    said = f" has {found.said_by}" if found.said_by else " cannot be corrected"
    raise ValueError(f"{where}{said}: {MEANINGS[found.action]}; use {found.remedy} instead")


def _said(optimizer: Any, group: Mapping[str, Any], key: str) -> Any:
    return group[key] if key in group else getattr(optimizer, key, None)


def _of_class(known: KnownOptimizer | None, is_switched_on: bool) -> FoundDecay:
    # A class that has such a switch leaves the choice to it.
    if known is None or is_switched_on or known.decay == "decoupled":
        return FoundDecay("decoupled")
    return FoundDecay(known.decay, "", known.instead or "an optimizer whose decay is decoupled (torch.optim.AdamW)")
