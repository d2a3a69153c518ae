"""What carries a run's schedule: the learning rate, the momentum, or both; right ways and the paper's wrong ones.

ScionC's effective learning rate is γ_eff = γ√((2-α)/α) with α = 1-β (arXiv 2512.08217, Eq. 3). Appendix C of the paper
also matches two other quantities, γ/√α and γ/α, to show that they are not it.
"""

from collections.abc import Callable
from typing import NamedTuple

from steadydecay.known_optimizers.update_momentum import UpdateMomentum
from steadydecay.recipes.overrides import nearest
from steadydecay.schedules.effective_lr import lr_and_momentum


class Moment(NamedTuple):
    """A moment of a run.

    Attributes:
        share: of the peak at which the scheduled quantity is, in [0, 1].
        progress: share of the run's steps that are done, in [0, 1].
    """

    share: float
    progress: float


class Carried(NamedTuple):
    """γ ≥ 0 and β in [0, 1)."""

    lr: float
    momentum: float


class MomentumRule(NamedTuple):
    """How an optimizer's momentum enters its effective learning rate.

    Attributes:
        known: the convention of the optimizer, from the table of known optimizers.
        nesterov: whether the update looks ahead by one gradient.
    """

    known: UpdateMomentum
    nesterov: bool


Carrier = Callable[[Moment, Carried, MomentumRule], Carried]


def by_lr(moment: Moment, peak: Carried, rule: MomentumRule) -> Carried:
    """γ follows the share, and β stays."""
    return Carried(moment.share * peak.lr, peak.momentum)


def by_momentum(moment: Moment, peak: Carried, rule: MomentumRule) -> Carried:
    """γ_eff follows the share through β, as far as 0, and then through γ (Sec. 2.2, Fig. 3)."""
    return Carried(*lr_and_momentum(moment.share, *peak, rule.nesterov, "momentum", rule.known))


def by_both(moment: Moment, peak: Carried, rule: MomentumRule) -> Carried:
    """γ_eff follows the share, half through γ and half through β."""
    return Carried(*lr_and_momentum(moment.share, *peak, rule.nesterov, "both", rule.known))


def by_root(moment: Moment, peak: Carried, rule: MomentumRule) -> Carried:
    """γ/√α follows the share through β (Appendix C.1), which is close to γ_eff but is not it."""
    return _matched(moment.share, peak, exponent=0.5)


def by_ratio(moment: Moment, peak: Carried, rule: MomentumRule) -> Carried:
    """γ/α follows the share through β, which is right for SGD and not for Scion (Appendix C.2)."""
    return _matched(moment.share, peak, exponent=1.0)


def by_linear_momentum(moment: Moment, peak: Carried, rule: MomentumRule) -> Carried:
    """γ follows the share while α rises linearly to 1, so that γ_eff falls first (Appendix C.3, Fig. 11)."""
    alpha = 1 - peak.momentum
    return Carried(moment.share * peak.lr, 1 - (alpha + (1 - alpha) * moment.progress))


CARRIERS: dict[str, Carrier] = {
    "lr": by_lr,
    "momentum": by_momentum,
    "both": by_both,
    "root": by_root,
    "ratio": by_ratio,
    "linear_momentum": by_linear_momentum,
}


def carrier_named(name: str) -> Carrier:
    """The carrier of that name, or ValueError with the nearest there is."""
    if name not in CARRIERS:
        raise ValueError(f"carrier is {name!r}{nearest(name, CARRIERS)}")
    return CARRIERS[name]


def _matched(share: float, peak: Carried, exponent: float) -> Carried:
    """γ/α^exponent at a share of its peak: α rises as far as 1, and γ carries what is left."""
    alpha = 1 - peak.momentum
    wanted = alpha / share ** (1 / exponent) if share else float("inf")
    if wanted <= 1:
        return Carried(peak.lr, 1 - wanted)
    return Carried(peak.lr * share / alpha**exponent, 0.0)
