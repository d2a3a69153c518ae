"""The first steps of Adam, whose correction of bias makes the averages of few gradients as large as these are."""

import math


def bias_corrected_size(step: int, beta: float) -> float:
    """√E u_t² of Adam's update u_t = m_t/(1-β^t), against that of a full average: √((1+β^t)/(1-β^t)).

    m_t = β m_{t-1} + (1-β) g_t from zero has the variance (1-β^{2t})(1-β)/(1+β) for gradients of variance 1; the
    second moment is taken as known.

    Args:
        step: t ≥ 1.
        beta: Adam's β₁ in [0, 1).

    >>> bias_corrected_size(1, 0.6), bias_corrected_size(1000, 0.6)
    (2.0, 1.0)
    """
    left = beta**step
    return math.sqrt((1 + left) / (1 - left))
