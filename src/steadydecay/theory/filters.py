"""Momentum as a linear filter of the gradients, with unit sum.

A momentum direction is ``m_t = Σ_j c_j g_{t-j}`` with ``Σ_j c_j = 1`` and a geometric tail.
For independent gradients its autocorrelation is ``ρ_0 = 1`` and ``ρ_k = gain · decay^k`` for k ≥ 1.
"""

from typing import NamedTuple

from steadydecay.theory.validation import require_in

# The smallest normal float32.
TINY = 2.0**-126


class MomentumFilter(NamedTuple):
    """What a momentum does to independent gradients of unit variance.

    Attributes:
        gain: A in the autocorrelation ``ρ_k = A β^k`` (dimensionless).
        decay: β, the momentum, in [0, 1).
        energy: ``Σ_j c_j²``, the variance that is left; the effective lr is ``lr / √energy``.
        scale_sq: E‖u‖² of the update that the direction becomes, against that of an update without momentum: 1 where
            the optimizer normalises it, something else where it is taken as it is (SGD).
    """

    gain: float
    decay: float
    energy: float
    scale_sq: float = 1.0


def exponential_average(momentum: float) -> MomentumFilter:
    """m_t = β m_{t-1} + (1-β) g_t, and heavy ball, which is the same up to scale (arXiv 2512.08217, Sec. 2.2).

    >>> exponential_average(0.5)
    MomentumFilter(gain=1.0, decay=0.5, energy=0.3333333333333333, scale_sq=1.0)
    """
    return MomentumFilter(gain=1.0, decay=momentum, energy=(1 - momentum) / (1 + momentum))


def nesterov_average(momentum: float) -> MomentumFilter:
    """The direction β m_t + (1-β) g_t of Nesterov momentum: c_0 = 1-β², c_j = (1-β) β^{j+1}.

    >>> nesterov_average(0.0)
    MomentumFilter(gain=0.0, decay=0.0, energy=1.0, scale_sq=1.0)
    """
    beta = momentum
    first_coefficient = 1 - beta**2
    tail_energy = (1 - beta) * beta**4 / (1 + beta)
    energy = first_coefficient**2 + tail_energy
    gain = (beta * (1 - beta) * first_coefficient + tail_energy) / energy
    return MomentumFilter(gain=gain, decay=beta, energy=energy)


def lion_average(beta1: float, beta2: float) -> MomentumFilter:
    """Lion's direction β₁ m_{t-1} + (1-β₁) g_t with m_t = β₂ m_{t-1} + (1-β₂) g_t (arXiv 2302.06675).

    c_0 = 1-β₁ and c_j = β₁ (1-β₂) β₂^{j-1}; with β₁ = β₂ it is the exponential average.

    >>> lion_average(0.5, 0.5) == exponential_average(0.5)
    True
    """
    tail_energy = beta1**2 * (1 - beta2) / (1 + beta2)
    energy = (1 - beta1) ** 2 + tail_energy
    # c_0 c_1 + Σ_j c_j c_{j+1} = gain · β₂ · energy. TINY, not a branch, keeps β₂ = 0 finite: β₂ may be a 0-d tensor.
    first_correlation = (1 - beta1) * beta1 * (1 - beta2) + tail_energy * beta2
    gain = first_correlation / (beta2 * energy + TINY)
    return MomentumFilter(gain=gain, decay=beta2, energy=energy)


Momentum = float | MomentumFilter


def momentum_filter(momentum: Momentum, nesterov: bool = False) -> MomentumFilter:
    """The filter of an optimizer's momentum; a filter is returned as it is.

    Args:
        momentum: β in [0, 1), PyTorch's convention (0.9, not 0.1), or a filter such as `lion_average`.
        nesterov: look ahead by one gradient; without meaning for a filter.

    Raises:
        ValueError: momentum outside [0, 1).
    """
    if not isinstance(momentum, MomentumFilter):
        require_in("momentum", momentum, 0, 1, include_low=True, remedy="PyTorch's convention is 0.9, not 0.1")
    return unchecked_filter(momentum, nesterov)


def unchecked_filter(momentum: Momentum, nesterov: bool) -> MomentumFilter:
    """`momentum_filter` without a look at the value, so that 0-d tensors pass without a device sync."""
    if isinstance(momentum, MomentumFilter):
        return momentum
    return nesterov_average(momentum) if nesterov else exponential_average(momentum)
