"""A slow reference: ‖θ‖ as a double sum over all pairs of updates, in float64."""

import math
from collections.abc import Callable

import numpy as np


def identity(correlation: np.ndarray) -> np.ndarray:
    return correlation


def arcsine(correlation: np.ndarray) -> np.ndarray:
    """What the sign makes of the correlation of Gaussian momentum."""
    return 2 / np.pi * np.arcsin(correlation)


def momentum_correlation(coefficients: np.ndarray, steps: int) -> np.ndarray:
    """Correlation of d_t = Σ_j c_j g_{t-j} at any two of the first `steps` steps, from a state of zero."""
    directions = np.zeros((steps, steps))
    for step in range(steps):
        directions[step, : step + 1] = coefficients[: step + 1][::-1]
    products = directions @ directions.T
    return products / np.sqrt(np.outer(products.diagonal(), products.diagonal()))


def norms_by_double_sum(
    lr: np.ndarray,
    decay: np.ndarray,
    momentum_correlation: np.ndarray,
    update_norms: np.ndarray,
    initial_norm: float,
    lmo: Callable[[np.ndarray], np.ndarray] = identity,
) -> np.ndarray:
    """√E‖θ_t‖² for t = 0, ..., steps, of θ_t = Π(1-η) θ_0 - Σ_s γ_s u_s Π_{r>s}(1-η_r).

    Args:
        lr, decay, update_norms: of each step.
        momentum_correlation: of the momentum at any two steps.
        lmo: correlation of the momentum -> correlation of the updates.
    """
    steps = len(lr)
    pairs = lmo(momentum_correlation.clip(-1, 1)) * np.outer(update_norms, update_norms)
    norms = [initial_norm]
    for t in range(1, steps + 1):
        left = np.array([np.prod(1 - decay[s + 1 : t]) for s in range(t)])
        weights = lr[:t] * left
        norms.append(math.sqrt(weights @ pairs[:t, :t] @ weights + (initial_norm * np.prod(1 - decay[:t])) ** 2))
    return np.array(norms)
