"""Momentum as a linear filter of the gradients, with unit sum.

Exponential average, heavy ball, Nesterov and Lion's two betas are one family: the direction of a step is
``d_t = a m_{t-1} + (1-a) g_t``, and the stored average ``m_t = β m_{t-1} + (1-β) g_t``. So ``d_t = Σ_j c_j g_{t-j}``
with ``c_0 = 1-a``, ``c_j = a (1-β) β^{j-1}``, and its autocorrelation is ``ρ_0 = 1``, ``ρ_k = ρ_1 β^{k-1}``.
"""

from typing import NamedTuple

from steadydecay.theory.validation import require_in


class MomentumFilter(NamedTuple):
    """What a momentum does to independent gradients of unit variance.

    Attributes:
        carry: a in [0, 1), the share of the direction that comes from the stored average.
        decay: β in [0, 1) of the stored average.
        scale_sq: E‖u‖² of the update that the direction becomes, relative to an update without momentum. It is 1 if the
            optimizer normalises the update and differs from 1 if it does not (SGD).

    >>> heavy = exponential_average(0.5)
    >>> heavy.gain, heavy.impulse_response(3), heavy.autocorrelation(3)
    (1.0, [0.5, 0.25, 0.125], [1.0, 0.5, 0.25])
    """

    carry: float
    decay: float
    scale_sq: float = 1.0

    @property
    def variance(self) -> float:
        """``Σ_j c_j²``, the share of a gradient's variance that remains."""
        return (1 - self.carry) ** 2 + self.carry**2 * (1 - self.decay) / (1 + self.decay)

    @property
    def energy(self) -> float:
        """(γ/γ_eff)²; the effective learning rate is ``lr / √energy``."""
        return self.variance / self.scale_sq

    @property
    def first_correlation(self) -> float:
        """ρ_1, the correlation between the directions of neighbouring steps."""
        carried = 1 - self.carry + self.carry * self.decay / (1 + self.decay)
        return self.carry * (1 - self.decay) * carried / self.variance

    @property
    def gain(self) -> float:
        """A = ρ_1/β in ``ρ_k = A β^k``, or 0 without memory."""
        return self.first_correlation / self.decay if self.decay else 0.0

    def impulse_response(self, length: int) -> list[float]:
        """Return ``c_0, ..., c_{length-1}``, which a unit gradient adds to the direction of each later step."""
        tail = self.carry * (1 - self.decay)
        return [1 - self.carry, *(tail * self.decay**lag for lag in range(length - 1))][:length]

    def autocorrelation(self, length: int) -> list[float]:
        """Return ``ρ_0, ..., ρ_{length-1}`` for independent gradients."""
        return [1.0, *(self.first_correlation * self.decay**lag for lag in range(length - 1))][:length]


def exponential_average(momentum: float) -> MomentumFilter:
    """Return the filter m_t = β m_{t-1} + (1-β) g_t, which is also heavy ball up to scale (arXiv 2512.08217, Sec. 2.2).

    Args:
        momentum: β in [0, 1). The functions that take the filter check it.

    >>> exponential_average(0.5).energy
    0.3333333333333333
    """
    return MomentumFilter(carry=momentum, decay=momentum)


def nesterov_average(momentum: float) -> MomentumFilter:
    """Return the filter of Nesterov momentum with the direction β m_t + (1-β) g_t: c_0 = 1-β², c_j = (1-β) β^{j+1}.

    Args:
        momentum: β in [0, 1). The functions that take the filter check it.

    >>> nesterov_average(0.5)
    MomentumFilter(carry=0.25, decay=0.5, scale_sq=1.0)
    """
    return MomentumFilter(carry=momentum**2, decay=momentum)


def lion_average(beta1: float, beta2: float) -> MomentumFilter:
    """Return the filter of Lion, β₁ m_{t-1} + (1-β₁) g_t with m_t = β₂ m_{t-1} + (1-β₂) g_t (arXiv 2302.06675).

    Args:
        beta1: β₁ in [0, 1), which interpolates the direction.
        beta2: β₂ in [0, 1) of the stored average. The functions that take the filter check both.

    >>> lion_average(0.5, 0.5) == exponential_average(0.5)
    True
    """
    return MomentumFilter(carry=beta1, decay=beta2)


Momentum = float | MomentumFilter
"""β in [0, 1) in PyTorch's convention (0.9, not 0.1), or a filter such as the one that `lion_average` returns."""


def momentum_filter(momentum: Momentum, nesterov: bool = False) -> MomentumFilter:
    """Return the filter of an optimizer's momentum. A filter is returned unchanged.

    Args:
        momentum: β in [0, 1) in PyTorch's convention (0.9, not 0.1), or a filter such as `lion_average` returns.
        nesterov: Whether the momentum looks ahead by one gradient. This has no effect on a filter.

    Raises:
        ValueError: The momentum, or the carry or decay of a filter, is outside [0, 1).
    """
    if isinstance(momentum, MomentumFilter):
        require_in("momentum.carry", momentum.carry, 0, 1, include_low=True)
        require_in("momentum.decay", momentum.decay, 0, 1, include_low=True)
    else:
        require_in("momentum", momentum, 0, 1, include_low=True, remedy="PyTorch's convention is 0.9, not 0.1")
    return unchecked_filter(momentum, nesterov)


def unchecked_filter(momentum: Momentum, nesterov: bool) -> MomentumFilter:
    """Compute `momentum_filter` without checking values, so that 0-d tensors do not wait for the device."""
    if isinstance(momentum, MomentumFilter):
        return momentum
    return nesterov_average(momentum) if nesterov else exponential_average(momentum)
