"""The keys in which a group carries its correction: how they are made, fixed and removed."""

from typing import Any

import torch
from torch import Tensor

from steadydecay.correction.hyperball import norms_to_hold
from steadydecay.correction.rules import CAUTIOUS, HYPERBALL, ChosenRule
from steadydecay.groups.key_types import KEYS_OF_ANY, is_number, require_number, require_types
from steadydecay.groups.settings import (
    Group,
    peak_lr,
    require_decay_in_step,
    require_in_step,
    weight_decay_of_step,
    with_references,
)
from steadydecay.known_optimizers.update_momentum import NO_MOMENTUM, UpdateMomentum
from steadydecay.theory.validation import require_in

# The group keys that the correction adds, besides what it writes to weight_decay.
OWN_REFERENCES = ("reference_lr", "reference_momentum")
REFERENCES = (*OWN_REFERENCES, "reference_is_fixed", "momentum_is_assumed")
REPLACEMENT_KEYS = ("decay_replacement", "replaced_weight_decay", "replaced_decay", "hyperball_norms")


def reference_marks(
    group: Group, rule: str, reference_lr: float | None, momentum: UpdateMomentum | None, name: str, floor: float = 0.0
) -> Group:
    """Return the keys that a group gets under a rule of `DECAY_RULES`.

    If no scheduler has left its peak, an lr below the `floor`, which the group had before, cannot be the reference.

    If the momentum is not known, it is assumed constant from now on, even if it becomes known later, because the
    reference does not include it.

    Raises:
        ValueError: The group has no weight_decay or lr, or a value is out of range.
    """
    if "weight_decay" not in group:
        raise ValueError(
            f"{name} has no weight_decay to correct; exclude it by where=..., or use an optimizer with weight decay"
        )
    if group.get("lr") is None:
        raise ValueError(
            f"{name} has lr={group.get('lr')!r}; it must be a number, so turn off the optimizer's own schedule"
        )
    require_types({key: group[key] for key in KEYS_OF_ANY if key in group and key != "decay"}, f" of {name}")
    is_assumed, momentum = momentum is None, momentum or NO_MOMENTUM
    proposed = {
        **group,
        "decay": rule,
        "reference_lr": peak_lr(group, max(group["lr"], floor)) if reference_lr is None else float(reference_lr),
        "reference_momentum": momentum_at_peak(group, momentum, group.get("reference_momentum")),
    }
    settings = with_references(proposed, {}, momentum)
    return {
        "decay": rule,
        "reference_lr": settings["reference_lr"],
        "reference_momentum": settings["reference_momentum"],
        "reference_weight_decay": float(group["weight_decay"]),
        **({"reference_is_fixed": False} if reference_lr is None else {}),
        **({"momentum_is_assumed": True} if is_assumed else {}),
    }


def replacement_marks(
    group: Group, rule: ChosenRule, reference_lr: float | None, momentum: UpdateMomentum | None, name: str, floor: float
) -> Group:
    """Return the keys that a group gets if its decay is replaced.

    Raises:
        ValueError: The weight_decay is illegal, the norms cannot be held, or the group has a `steady_norm_sq`.
    """
    if group.get("steady_norm_sq") is not None:
        asked = f"steady_norm_sq={group['steady_norm_sq']!r}"
        raise ValueError(
            f"{name} has {asked}, which the rule {rule.replacement!r} does not support; set weight_decay instead"
        )
    require_number(f"weight_decay of {name}", group.get("weight_decay", 0.0))
    weight_decay = float(group.get("weight_decay", 0.0))
    require_in(f"weight_decay of {name}", weight_decay, 0, include_low=True)
    marks: Group = {"decay_replacement": rule.replacement, "replaced_weight_decay": weight_decay}
    if rule.replacement == HYPERBALL:
        marks["hyperball_norms"] = norms_to_hold(group, name)
    if rule.replacement == CAUTIOUS and rule.decay != "constant":
        references = reference_marks(group, rule.decay, reference_lr, momentum, name, floor)
        marks |= {"replaced_decay": rule.decay} | {key: references[key] for key in REFERENCES if key in references}
    return marks


def replaced_weight_decay(group: Group, momentum: UpdateMomentum, index: int) -> float | Tensor:
    """Return λ_t of a group whose decay is replaced, by its `replaced_decay` or else unchanged."""
    if "replaced_decay" not in group:
        if group["decay_replacement"] == CAUTIOUS:
            require_in_step("lr", group["lr"], index, remedy="turn off the optimizer's own schedule")
            require_in_step("replaced_weight_decay", group["replaced_weight_decay"], index, remedy="0 is no decay")
            require_decay_in_step(group, group["replaced_weight_decay"], index)
        return group["replaced_weight_decay"]
    at_reference = {"decay": group["replaced_decay"], "reference_weight_decay": group["replaced_weight_decay"]}
    return weight_decay_of_step({**group, **at_reference}, momentum, index)


def fixed_reference(
    group: Group, momentum: UpdateMomentum, given_momentum: Any = None, asked_peak: float | None = None
) -> Group:
    """Return the keys that fix the reference of a group at its first step.

    Args:
        group: The keys of the group.
        momentum: How its momentum is read.
        given_momentum: A `reference_momentum` that the user has given; it stays.
        asked_peak: The peak of its schedule, if the schedule could be asked for it.
    """
    at_peak = momentum_at_peak(group, momentum, given_momentum)
    return {
        "reference_lr": peak_lr(group, group["reference_lr"], asked_peak),
        "reference_momentum": group["reference_momentum"] if at_peak is None else at_peak,
        "reference_is_fixed": True,
    }


def write_weight_decay(group: Group, weight_decay: float | Tensor) -> None:
    """Set a group's weight_decay: a tensor in place, so that a compiled or captured step sees it, or else as a float.

    A value that is not a number, which a loop may have written there, is replaced.
    """
    if "weight_decay" not in group:
        return
    held = group["weight_decay"]
    if not (isinstance(held, Tensor) and is_number(held)):
        group["weight_decay"] = float(weight_decay)
        return
    with torch.no_grad():
        held.copy_(weight_decay) if isinstance(weight_decay, Tensor) else held.fill_(weight_decay)


def momentum_at_peak(group: Group, momentum: UpdateMomentum, given: Any = None) -> Any:
    """Return `given`, or the `base_momentum` (β or β₁) to which OneCycleLR lowers momentum at the peak, or None."""
    peak = group.get("base_momentum")
    if given is not None or peak is None:
        return given
    betas = group.get("betas", ())
    value = momentum.read({**group, "momentum": peak, "betas": (peak, *betas[1:])})
    return tuple(map(float, value)) if isinstance(value, tuple) else float(value)


def is_marked(group: Group) -> bool:
    """Return whether the group carries a correction: this one, or one from a checkpoint or a copy."""
    return "reference_weight_decay" in group or "decay_replacement" in group


def rule_of(group: Group) -> str:
    """Return the rules that a marked group carries, as text."""
    names = (group.get("replaced_decay"), group["decay_replacement"]) if "decay_replacement" in group else None
    return " and ".join(filter(None, names)) if names else group["decay"]


def unmark(group: Group, values_before: Group, keeps_references: bool) -> None:
    """Restore weight_decay, delete the keys that were added, and restore those that existed before.

    Args:
        group: A marked group.
        values_before: The keys that it had before.
        keeps_references: Whether the optimizer has references of its own.
    """
    is_replaced = "decay_replacement" in group
    write_weight_decay(group, group["replaced_weight_decay" if is_replaced else "reference_weight_decay"])
    added = REPLACEMENT_KEYS if is_replaced else ("decay", "reference_weight_decay")
    if not is_replaced or "replaced_decay" in group:
        added += REFERENCES
    for key in added:
        if not (keeps_references and key in OWN_REFERENCES):
            group.pop(key, None)
    group.update(values_before)
