"""How weight decay follows the schedule: one pure function for every optimizer (arXiv 2512.08217, Eq. 4).

All rules give PyTorch's coefficient λ (`weight_decay`); the decay of a step is η = γλ. Each equals the reference
coefficient, bit for bit, at the reference lr and momentum, and is finite at lr = 0.
"""

from collections.abc import Callable
from typing import NamedTuple

from steadydecay.theory.filters import Momentum, MomentumFilter, momentum_filter, unchecked_filter
from steadydecay.theory.steady_state import decay_over_lr_sq, lr_sq_over_norm_sq
from steadydecay.theory.validation import require_in


class Reference(NamedTuple):
    """Where a group's weight decay was chosen: all rules agree there.

    Attributes:
        lr: γ at the reference, > 0 unless the rule is "constant".
        weight_decay: λ at the reference.
        momentum: β at the reference; 0 where momentum does not enter (Adam).
    """

    lr: float
    weight_decay: float
    momentum: Momentum = 0.0


def constant(lr: float, momentum: MomentumFilter, reference: Reference, start: MomentumFilter) -> float:
    """λ as it was: η ∝ γ. What AdamW, Scion and Muon do; the norm falls as √γ."""
    return reference.weight_decay


def corrected(lr: float, momentum: MomentumFilter, reference: Reference, start: MomentumFilter) -> float:
    """λ ∝ γ_eff²/γ, that is η ∝ γ_eff² (Eq. 4): the norm holds while η ≪ 1-β."""
    return reference.weight_decay * (lr / reference.lr * (start.energy / momentum.energy))


def exact(lr: float, momentum: MomentumFilter, reference: Reference, start: MomentumFilter) -> float:
    """λ that holds the reference's own S at any lr and momentum, without the approximation η ≪ 1-β."""
    start_w = lr_sq_over_norm_sq(reference.lr * reference.weight_decay, start)
    lr_ratio, scale_sq_ratio = lr / reference.lr, momentum.scale_sq / start.scale_sq
    w = lr_ratio**2 * scale_sq_ratio * start_w
    h_ratio = decay_over_lr_sq(w, momentum) / decay_over_lr_sq(start_w, start)
    return reference.weight_decay * (lr_ratio * scale_sq_ratio * h_ratio)


DecayRule = Callable[[float, MomentumFilter, Reference, MomentumFilter], float]
DECAY_RULES: dict[str, DecayRule] = {"constant": constant, "corrected": corrected, "exact": exact}
"""The rules by name: "constant" keeps λ, "corrected" is the paper's Eq. 4, and "exact" holds S at any decay."""


def weight_decay(lr: float, momentum: Momentum, nesterov: bool, reference: Reference, rule: str) -> float:
    """λ of a step under a rule. Floats, or 0-d tensors (no branch on a value, no device sync).

    Args:
        lr: γ ≥ 0 of this step.
        momentum: β in [0, 1) of this step; 0 where momentum does not enter the norm of the update (Adam).
        nesterov: look ahead by one gradient.
        reference: where λ was chosen.
        rule: a key of `DECAY_RULES`.

    Raises:
        ValueError: unknown rule.

    >>> weight_decay(0.5, 0.0, False, Reference(lr=1.0, weight_decay=0.1), "corrected")
    0.05
    """
    return rule_named(rule)(lr, unchecked_filter(momentum, nesterov), reference, _start(reference, nesterov))


def decay(lr: float, momentum: Momentum, nesterov: bool, reference: Reference, rule: str) -> float:
    """η = γλ of a step under a rule: the fraction of the weight that this step removes.

    Args:
        lr, momentum, nesterov, reference, rule: as in `weight_decay`.

    Raises:
        ValueError: unknown rule.

    >>> decay(0.5, 0.0, False, Reference(lr=1.0, weight_decay=0.1), "corrected")
    0.025
    """
    return lr * weight_decay(lr, momentum, nesterov, reference, rule)


def reference_weight_decay(
    steady_norm_sq: float, lr: float, momentum: Momentum = 0.0, *, nesterov: bool = False, rule: str
) -> float:
    """λ at the reference lr and momentum that asks for the steady state S.

    "corrected" is the paper's Algorithm 2, η = γ_eff²/(2S) at every step; the other rules hold S exactly.

    Args:
        steady_norm_sq: S > lr², for a momentum that is not normalised (SGD) in units of E‖u‖² without momentum.
        lr: γ > 0 at the reference.
        momentum, nesterov: at the reference.
        rule: a key of `DECAY_RULES`.

    Raises:
        ValueError: an argument outside its range.

    >>> reference_weight_decay(2.0, 1.0, rule="corrected")
    0.25
    """
    rule_named(rule)
    require_in("lr", lr, 0, remedy="λ = η/γ needs a reference above 0, the peak of the schedule")
    start = momentum_filter(momentum, nesterov)
    remedy = f"one step of lr={lr!r} alone is larger; lower lr or raise the norm"
    require_in("steady_norm_sq", steady_norm_sq, lr**2 * start.scale_sq, remedy=remedy)
    return unchecked_reference_weight_decay(steady_norm_sq, lr, start, rule)


def unchecked_reference_weight_decay(steady_norm_sq: float, lr: float, start: MomentumFilter, rule: str) -> float:
    """`reference_weight_decay` without a look at the values, so that a 0-d tensor S passes without a device sync."""
    lr_over_norm_sq = lr / steady_norm_sq
    if rule == "corrected":
        return lr_over_norm_sq / (2 * start.energy)
    return lr_over_norm_sq * start.scale_sq * decay_over_lr_sq(lr * lr_over_norm_sq * start.scale_sq, start)


def rule_named(name: str) -> DecayRule:
    """The rule of that name, or ValueError with the names there are."""
    if not isinstance(name, str) or name not in DECAY_RULES:
        raise ValueError(f"decay rule is {name!r}; legal are {', '.join(map(repr, DECAY_RULES))}")
    return DECAY_RULES[name]


def _start(reference: Reference, nesterov: bool) -> MomentumFilter:
    return unchecked_filter(reference.momentum, nesterov)
