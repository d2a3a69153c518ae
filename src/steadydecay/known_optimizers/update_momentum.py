"""Which momentum sets the size of an optimizer's summed updates, as its groups hold it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from steadydecay.theory.filters import MomentumFilter, lion_average, unchecked_filter


class UpdateMomentum(NamedTuple):
    """How to read an optimizer's momentum from a group.

    Attributes:
        read: group -> the hyperparameter as the group holds it (a float, a tensor, Lion's two betas).
        filter: (that hyperparameter, nesterov) -> the filter that the update's direction went through.
    """

    read: Callable[[Mapping[str, Any]], Any]
    filter: Callable[[Any, bool], MomentumFilter]

    def of(self, group: Mapping[str, Any]) -> MomentumFilter:
        """The filter of the group's next step."""
        return self.filter(self.read(group), group.get("nesterov", False))

    def reference_of(self, group: Mapping[str, Any]) -> MomentumFilter:
        """The filter of the group's `reference_momentum`."""
        return self.filter(group["reference_momentum"], group.get("nesterov", False))


def heavy_ball_sum(momentum: float, nesterov: bool) -> MomentumFilter:
    """torch's SGD, whose update is the sum itself: b_t = β b_{t-1} + g_t, u_t = b_t, or g_t + β b_t with Nesterov.

    Its direction is that of the average over 1-β, so the autocorrelation is the same (`exponential_average`,
    `nesterov_average`), but nothing normalises its size: with Σ c_j = 1/(1-β) one minibatch adds γ/(1-β) in all.
    With r = E‖u‖²/E‖g‖² = Σ c_j² the steady state, now in units of E‖g‖², is

        E‖θ‖²/E‖g‖² = γ² r / (η(2-η)) · [1 + 2 Σ_{k≥1} (1-η)^k ρ_k]  →  (γ/(1-β))² / (2η)  for η ≪ 1-β,

    because r [1 + 2 Σ_k ρ_k] = (Σ c_j)² for every filter. So energy, which is (γ/γ_eff)², is (1-β)² with and without
    Nesterov, and r is scale_sq: the correction is η ∝ (γ/(1-β))². Had SGD taken the average, γ_eff would be γ and
    momentum would not enter, as with Adam. Assumes gradients of a size that does not change.

    >>> heavy_ball_sum(0.5, False)
    MomentumFilter(carry=0.5, decay=0.5, scale_sq=1.3333333333333333)
    """
    average = unchecked_filter(momentum, nesterov)
    return average._replace(scale_sq=average.variance / (1 - momentum) ** 2)


# Scion, Muon: an average of gradients, whose direction is then normalised.
AVERAGE = UpdateMomentum(lambda group: group["momentum"], unchecked_filter)
# The same where the key holds the share of the new gradient, the papers' α.
NEW_GRADIENT_SHARE = UpdateMomentum(lambda group: 1 - group["momentum"], unchecked_filter)
# The same with the momentum in the first of two betas.
AVERAGE_IN_BETAS = UpdateMomentum(lambda group: group["betas"][0], unchecked_filter)
# SGD with dampening 0: a sum of gradients that nothing normalises.
HEAVY_BALL = UpdateMomentum(lambda group: group["momentum"], heavy_ball_sum)
# Lion: two betas, then the sign.
LION = UpdateMomentum(lambda group: group["betas"], lambda betas, nesterov: lion_average(*betas))
# The same in two keys.
LION_IN_TWO_KEYS = LION._replace(read=lambda group: (group["beta1"], group["beta2"]))
# Adam: the second moment normalises, so that momentum does not change what a minibatch adds in all (Appendix B).
NO_MOMENTUM = UpdateMomentum(lambda group: 0.0, unchecked_filter)

# By class name, after `package.name` where packages differ. Read from the sources of torch 2.13, transformers 5.23,
# timm 1.0.31, pytorch_optimizer 4.1 and optimi 0.3.3.
UPDATE_MOMENTUM_OF: dict[str, UpdateMomentum] = {
    "ADOPT": NO_MOMENTUM,
    "AdaBelief": NO_MOMENTUM,
    "AdaFactor": NO_MOMENTUM,
    "Adafactor": NO_MOMENTUM,
    "AdafactorBigVision": NO_MOMENTUM,
    "Adam": NO_MOMENTUM,
    "AdamC": NO_MOMENTUM,
    "AdamW": NO_MOMENTUM,
    "AdamWLegacy": NO_MOMENTUM,
    "Adopt": NO_MOMENTUM,
    "LaProp": NO_MOMENTUM,
    "NAdam": NO_MOMENTUM,
    "NAdamW": NO_MOMENTUM,
    "RAdam": NO_MOMENTUM,
    "SOAP": NO_MOMENTUM,
    "StableAdamW": NO_MOMENTUM,
    "Muon": AVERAGE,
    "NorMuon": AVERAGE,
    "steadydecay.Scion": AVERAGE,
    "SGDW": HEAVY_BALL,
    "pytorch_optimizer.AdaMuon": AVERAGE_IN_BETAS,
    "pytorch_optimizer.SCION": NEW_GRADIENT_SHARE,
    "Lion": LION,
    "optimi.Lion": LION_IN_TWO_KEYS,
}


def known_update_momentum(optimizer: Any, group: Mapping[str, Any]) -> UpdateMomentum | None:
    """The entry of `UPDATE_MOMENTUM_OF` for one group, or None where the optimizer and its parents have none.

    A group that a Muon hands to its own AdamW (`use_muon=False`, `use_fallback=True`) counts as Adam. Dampening makes
    SGD neither the sum nor the average, and a class of a known name may still keep its momentum elsewhere: None too.
    """
    found = (UPDATE_MOMENTUM_OF[name] for name in class_names(optimizer) if name in UPDATE_MOMENTUM_OF)
    momentum = next(found, None)
    if momentum in (AVERAGE, AVERAGE_IN_BETAS) and (
        group.get("use_muon") is False or group.get("use_fallback") is True
    ):
        return NO_MOMENTUM
    if momentum is None or (momentum is HEAVY_BALL and group.get("dampening", 0) != 0):
        return None
    try:
        momentum.read(group)
    except KeyError:
        return None
    return momentum


def class_names(optimizer: Any) -> Iterator[str]:
    """`package.name` and name of the optimizer's class and its parents, nearest first."""
    for parent in type(optimizer).__mro__:
        yield f"{parent.__module__.partition('.')[0]}.{parent.__name__}"
        yield parent.__name__
