"""Where the momentum of an optimizer is in a group, in which convention, and which filter of the gradients it is."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from steadydecay.theory.filters import MomentumFilter, lion_average, unchecked_filter
from steadydecay.theory.steady_state import momentum_for


class UpdateMomentum(NamedTuple):
    """How to read and write a momentum, and what it does to the size of summed updates.

    Attributes:
        read: Takes a group and returns the hyperparameter in PyTorch's convention (0.9): a float, a tensor, or Lion's
            two betas.
        filter: Takes that hyperparameter and `nesterov`, and returns the filter of the update's direction.
        written: Takes a group and β, and returns the group keys that a momentum schedule must set. It is None if a
            change of momentum does not change the effective learning rate (Adam, Lion).
        momentum_for: Takes an effective learning rate, a smaller learning rate and `nesterov`, and returns the β in [0,
            1) that relates them.
    """

    read: Callable[[Mapping[str, Any]], Any]
    filter: Callable[[Any, bool], MomentumFilter]
    written: Callable[[Mapping[str, Any], Any], dict[str, Any]] | None = None
    momentum_for: Callable[[float, float, bool], float] = lambda wanted, lr, nesterov: momentum_for(
        wanted, lr, nesterov=nesterov
    )

    def of(self, group: Mapping[str, Any]) -> MomentumFilter:
        """Return the filter of the group's next step."""
        return self.filter(self.read(group), group.get("nesterov", False))

    def reference_of(self, group: Mapping[str, Any]) -> MomentumFilter:
        """Return the filter of the group's `reference_momentum`."""
        return self.filter(group["reference_momentum"], group.get("nesterov", False))


def heavy_ball_sum(momentum: float, nesterov: bool) -> MomentumFilter:
    """Return the filter of torch's SGD, whose update is the sum b_t = β b_{t-1} + g_t itself, or g_t + β b_t with
    Nesterov.

    Its direction is that of the average divided by 1-β, so that the autocorrelation is the same (`exponential_average`,
    `nesterov_average`), but its size is not normalised: with Σ c_j = 1/(1-β) one minibatch adds γ/(1-β) in all.
    With r = E‖u‖²/E‖g‖² = Σ c_j² the steady state, now in units of E‖g‖², is

        E‖θ‖²/E‖g‖² = γ² r / (η(2-η)) · [1 + 2 Σ_{k≥1} (1-η)^k ρ_k]  →  (γ/(1-β))² / (2η)  for η ≪ 1-β,

    because r [1 + 2 Σ_k ρ_k] = (Σ c_j)² for every filter. So energy, which is (γ/γ_eff)², is (1-β)² with and without
    Nesterov, and r is scale_sq: the correction is η ∝ (γ/(1-β))². If SGD used the average, γ_eff would be γ and
    momentum would not matter, as with Adam. This assumes gradients of constant size.

    >>> heavy_ball_sum(0.5, False)
    MomentumFilter(carry=0.5, decay=0.5, scale_sq=1.3333333333333333)
    """
    average = unchecked_filter(momentum, nesterov)
    return average._replace(scale_sq=average.variance / (1 - momentum) ** 2)


# Scion and Muon use an average of gradients, whose direction is then normalised.
AVERAGE = UpdateMomentum(lambda group: group["momentum"], unchecked_filter, lambda group, beta: {"momentum": beta})
# SGD with dampening 0 uses a sum of gradients, which is not normalised.
HEAVY_BALL = AVERAGE._replace(filter=heavy_ball_sum, momentum_for=lambda wanted, lr, nesterov: 1 - lr / wanted)
# Lion uses two betas and then the sign. The effective learning rate cannot be scheduled through two numbers.
LION = UpdateMomentum(lambda group: group["betas"], lambda betas, nesterov: lion_average(*betas))
# Adam normalises by the second moment, so that momentum does not change what a minibatch adds in all (Appendix B).
NO_MOMENTUM = UpdateMomentum(lambda group: 0.0, unchecked_filter)


def average_in(key: str, index: int | None = None) -> UpdateMomentum:
    """Return an average whose momentum is under another key, or is one of several numbers there.

    >>> average_in("betas", 0).written({"betas": (0.9, 0.95)}, 0.8)
    {'betas': (0.8, 0.95)}
    """
    if index is None:
        return AVERAGE._replace(read=lambda group: group[key], written=lambda group, beta: {key: beta})
    return AVERAGE._replace(
        read=lambda group: group[key][index],
        written=lambda group, beta: {key: (*group[key][:index], beta, *group[key][index + 1 :])},
    )


def sum_in(key: str) -> UpdateMomentum:
    """Return a sum whose momentum is under another key.

    >>> sum_in("mu").of({"mu": 0.5}) == HEAVY_BALL.of({"momentum": 0.5})
    True
    """
    return HEAVY_BALL._replace(read=lambda group: group[key], written=lambda group, beta: {key: beta})


def share_in(key: str) -> UpdateMomentum:
    """Return an average whose key holds the share of the new gradient, the α = 1-β of papers.

    >>> share_in("momentum").read({"momentum": 0.25})
    0.75
    """
    return AVERAGE._replace(read=lambda group: 1 - group[key], written=lambda group, beta: {key: 1 - beta})


def plain_average(momentum: UpdateMomentum) -> UpdateMomentum:
    """Return the same average without normalisation: one minibatch adds γ in all, so momentum does not matter.

    >>> plain_average(AVERAGE).of({"momentum": 0.5}).energy
    1.0
    """

    def filter_of(value: Any, nesterov: bool) -> MomentumFilter:
        average = momentum.filter(value, nesterov)
        return average._replace(scale_sq=average.variance)

    return momentum._replace(filter=filter_of, written=None)


def lion_in(first: str, second: str) -> UpdateMomentum:
    """Return the momentum of Lion with its two betas under two keys."""
    return LION._replace(read=lambda group: (group[first], group[second]))
