"""Whether a group's weight decay is decoupled from the gradient and follows the lr: θ ← (1-γλ)θ - γu."""

from collections.abc import Mapping
from typing import Any

from steadydecay.known_optimizers.update_momentum import class_names

# Class: what to use in its place. In torch these add λθ to the gradient and have no switch.
ADDS_TO_GRADIENT: dict[str, str] = {
    "torch.ASGD": "torch.optim.AdamW, or steadydecay.SGDW",
    "torch.Adadelta": "torch.optim.AdamW",
    "torch.Adagrad": "torch.optim.AdamW",
    "torch.Adamax": "torch.optim.AdamW, or NAdam(decoupled_weight_decay=True)",
    "torch.RMSprop": "torch.optim.AdamW",
    "torch.SGD": "steadydecay.SGDW, or torch.optim.AdamW",
}
# Group keys that must be true (torch; pytorch_optimizer; optimi; timm).
MUST_BE_TRUE = ("decoupled_weight_decay", "weight_decouple", "decouple_wd", "decoupled_decay", "decoupled")
# Group keys that must be false: what they do to the decay instead.
MUST_BE_FALSE: dict[str, str] = {
    "constraint": "the step decays by the lr itself and ignores weight_decay",
    "corrected_weight_decay": "the optimizer corrects the decay itself",
    "decouple_lr": "the decay does not follow from lr · weight_decay",
    "fixed_decay": "the decay does not follow the lr",
    "normalized": "the optimizer corrects the decay itself",
    "unscaled_wd": "the decay does not follow the lr",
}


def require_decoupled(optimizer: Any, group: Mapping[str, Any], index: int) -> None:
    """Raise ValueError, with the remedy, where λ of the group means something other than θ ← (1-γλ)θ - γu.

    A group with weight_decay 0 passes whatever its optimizer would do with more.
    """
    where = f"group {index} of {type(optimizer).__name__}"
    for key, meaning in MUST_BE_FALSE.items():
        if group.get(key):
            raise ValueError(f"{where} has {key}={group[key]!r}: {meaning}; legal is {key}=False")
    weight_decay = group.get("weight_decay", 0.0)
    if weight_decay == 0 and group.get("steady_norm_sq") is None:
        return
    remedies = [f"{key}=True" for key in MUST_BE_TRUE if key in group and not group[key]]
    is_switched_on = any(group.get(key) for key in MUST_BE_TRUE)
    if not remedies and not is_switched_on:
        remedies = [ADDS_TO_GRADIENT[name] for name in class_names(optimizer) if name in ADDS_TO_GRADIENT]
    if remedies:
        raise ValueError(
            f"{where} has weight_decay={float(weight_decay)!r} as L2, added to the gradient, where no rule for decay "
            f"holds a norm; legal is decoupled decay: use {remedies[0]}"
        )
