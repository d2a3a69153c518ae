"""The first steps of Adam, whose bias correction makes the averages of few gradients as large as these are.

With m_t = β m_{t-1} + (1-β) g_t, the update is m_t / (1 - β^t) for gradients of variance 1: of size 1 at the first
step, and of √((1-β)/(1+β)) once the average is full.
"""

from collections.abc import Iterable


def bias_corrected_norm_sq(lr: Iterable[float], decay: Iterable[float], beta: float) -> list[float]:
    """E θ_t² of one entry after each step, from θ = 0: θ ← (1-η_t)θ - γ_t m_t/(1-β^t), for independent gradients.

    Exact in γ, η and β but for the second moment, which is taken as known.

    Args:
        lr: γ ≥ 0 of each step.
        decay: η in [0, 1) of each step.
        beta: Adam's β₁ in [0, 1).

    >>> bias_corrected_norm_sq([1.0, 1.0], [0.0, 0.0], beta=0.5)
    [1.0, 2.2222222222222223]
    """
    # E m², E θm and E θ², which each step takes to those after it.
    average_sq, product, norm_sq, left = 0.0, 0.0, 0.0, 1.0
    norms_sq = []
    for step_lr, step_decay in zip(lr, decay, strict=True):
        left *= beta
        added, kept = step_lr / (1 - left), 1 - step_decay
        average_sq = beta**2 * average_sq + (1 - beta) ** 2
        norm_sq = kept**2 * norm_sq - 2 * kept * added * beta * product + added**2 * average_sq
        product = kept * beta * product - added * average_sq
        norms_sq.append(norm_sq)
    return norms_sq
