"""How weight decay follows the schedule: one pure function for every optimizer (arXiv 2512.08217, Eq. 4).

All rules return PyTorch's coefficient λ (`weight_decay`); the decay of a step is η = γλ. Each rule equals the reference
coefficient, bit for bit, at the reference learning rate and momentum, and is finite at lr = 0.
"""

from collections.abc import Callable
from typing import NamedTuple

from steadydecay.theory.filters import Momentum, MomentumFilter, momentum_filter, unchecked_filter
from steadydecay.theory.steady_state import decay_over_lr_sq, lr_sq_over_norm_sq
from steadydecay.theory.validation import require_in


class Reference(NamedTuple):
    """The point at which a group's weight decay was chosen. All rules agree there.

    Attributes:
        lr: γ at the reference. It must be above 0 unless the rule is "constant".
        weight_decay: λ ≥ 0 at the reference.
        momentum: β in [0, 1) at the reference, or 0 if momentum does not matter (Adam).
    """

    lr: float
    weight_decay: float
    momentum: Momentum = 0.0


def constant(lr: float, momentum: MomentumFilter, reference: Reference, start: MomentumFilter) -> float:
    """Keep λ, so that η ∝ γ. AdamW, Scion and Muon do this, and their weight norm falls as √γ."""
    return reference.weight_decay


def corrected(lr: float, momentum: MomentumFilter, reference: Reference, start: MomentumFilter) -> float:
    """Set λ ∝ γ_eff²/γ, that is η ∝ γ_eff² (Eq. 4). The weight norm stays as long as η ≪ 1-β."""
    return reference.weight_decay * (lr / reference.lr * (start.energy / momentum.energy))


def exact(lr: float, momentum: MomentumFilter, reference: Reference, start: MomentumFilter) -> float:
    """Set λ to hold the reference's own S at any learning rate and momentum, without the approximation η ≪ 1-β."""
    start_w = lr_sq_over_norm_sq(reference.lr * reference.weight_decay, start)
    lr_ratio, scale_sq_ratio = lr / reference.lr, momentum.scale_sq / start.scale_sq
    w = lr_ratio**2 * scale_sq_ratio * start_w
    h_ratio = decay_over_lr_sq(w, momentum) / decay_over_lr_sq(start_w, start)
    return reference.weight_decay * (lr_ratio * scale_sq_ratio * h_ratio)


DecayRule = Callable[[float, MomentumFilter, Reference, MomentumFilter], float]
DECAY_RULES: dict[str, DecayRule] = {"constant": constant, "corrected": corrected, "exact": exact}
"""The rules by name: "constant" keeps λ, "corrected" is the paper's Eq. 4, and "exact" holds S at any decay."""


def weight_decay(lr: float, momentum: Momentum, nesterov: bool, reference: Reference, rule: str) -> float:
    """Return λ of a step under a decay rule.

    All numbers may also be 0-d tensors: there is no branch on a value and no wait for the device.

    Args:
        lr: The learning rate γ ≥ 0 of this step.
        momentum: β in [0, 1) of this step, or a filter. Use 0 if momentum does not change the size of the update
            (Adam).
        nesterov: Whether the momentum looks ahead by one gradient.
        reference: Where λ was chosen.
        rule: A key of `DECAY_RULES`: "constant", "corrected" (arXiv 2512.08217, Eq. 4) or "exact".

    Raises:
        ValueError: The rule is unknown.

    >>> weight_decay(0.5, 0.0, False, Reference(lr=1.0, weight_decay=0.1), "corrected")
    0.05
    """
    return rule_named(rule)(lr, unchecked_filter(momentum, nesterov), reference, _start(reference, nesterov))


def decay(lr: float, momentum: Momentum, nesterov: bool, reference: Reference, rule: str) -> float:
    """Return η = γλ of a step under a decay rule: the share of the weight that this step removes.

    Args:
        lr, momentum, nesterov, reference, rule: As in `weight_decay`.

    Raises:
        ValueError: The rule is unknown.

    >>> decay(0.5, 0.0, False, Reference(lr=1.0, weight_decay=0.1), "corrected")
    0.025
    """
    return lr * weight_decay(lr, momentum, nesterov, reference, rule)


def reference_weight_decay(
    steady_norm_sq: float, lr: float, momentum: Momentum = 0.0, *, nesterov: bool = False, rule: str
) -> float:
    """Return the λ at the reference that leads to the steady state S.

    The rule "corrected" is the paper's Algorithm 2, η = γ_eff²/(2S) at every step. The other rules hold S exactly.

    Args:
        steady_norm_sq: S = E‖θ‖²/E‖u‖², above lr². For a momentum that is not normalised (SGD) it is in units of E‖u‖²
            without momentum.
        lr: The learning rate γ > 0 at the reference.
        momentum, nesterov: The momentum in [0, 1) at the reference, or a filter, and whether it looks ahead by one
            gradient.
        rule: A key of `DECAY_RULES`.

    Raises:
        ValueError: An argument is outside its range.

    >>> reference_weight_decay(2.0, 1.0, rule="corrected")
    0.25
    """
    rule_named(rule)
    require_in("lr", lr, 0, remedy="λ = η/γ needs the peak of the schedule")
    start = momentum_filter(momentum, nesterov)
    remedy = f"a single step with lr={lr!r} is larger, so lower lr or raise the norm"
    require_in("steady_norm_sq", steady_norm_sq, lr**2 * start.scale_sq, remedy=remedy)
    return unchecked_reference_weight_decay(steady_norm_sq, lr, start, rule)


def unchecked_reference_weight_decay(steady_norm_sq: float, lr: float, start: MomentumFilter, rule: str) -> float:
    """Compute `reference_weight_decay` without checking values, so that a 0-d tensor S does not wait for the device."""
    lr_over_norm_sq = lr / steady_norm_sq
    if rule == "corrected":
        return lr_over_norm_sq / (2 * start.energy)
    return lr_over_norm_sq * start.scale_sq * decay_over_lr_sq(lr * lr_over_norm_sq * start.scale_sq, start)


def rule_named(name: str) -> DecayRule:
    """Return the rule of this name, or raise ValueError with the names that exist."""
    if not isinstance(name, str) or name not in DECAY_RULES:
        raise ValueError(f"decay rule is {name!r}; it must be one of {', '.join(map(repr, DECAY_RULES))}")
    return DECAY_RULES[name]


def _start(reference: Reference, nesterov: bool) -> MomentumFilter:
    return unchecked_filter(reference.momentum, nesterov)
