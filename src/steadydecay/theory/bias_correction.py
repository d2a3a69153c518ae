"""The first steps of Adam, whose bias correction makes the averages of few gradients as large as the gradients
themselves.
"""

import math


def bias_corrected_size(step: int, beta: float) -> float:
    """Return √E u_t² of Adam's update u_t = m_t/(1-β^t), relative to that of a full average: √((1+β^t)/(1-β^t)).

    Starting from zero, m_t = β m_{t-1} + (1-β) g_t has the variance (1-β^{2t})(1-β)/(1+β) for gradients of variance 1.
    The second moment is assumed to be known.

    Args:
        step: The step t, 1 or more.
        beta: Adam's β₁ in [0, 1).

    >>> bias_corrected_size(1, 0.6), bias_corrected_size(1000, 0.6)
    (2.0, 1.0)
    """
    left = beta**step
    return math.sqrt((1 + left) / (1 - left))
