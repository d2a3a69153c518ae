"""Slow float64 Scion, written from the equations of arXiv 2512.08217 alone; nothing from steadydecay.

Filters are impulse responses, correlations are sums, the exact rule is a bisection, polar factors are an SVD.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from torch import Tensor

# 0.95 ** 600 is 4e-14: what is cut off is below the rounding of everything else.
FILTER_LENGTH = 600


@cache
def impulse_response(momentum: float, nesterov: bool) -> np.ndarray:
    """c_j: the update directions that follow one gradient of 1 and then zeros."""
    average, response = 0.0, np.zeros(FILTER_LENGTH)
    for step in range(FILTER_LENGTH):
        gradient = 1.0 if step == 0 else 0.0
        average = momentum * average + (1 - momentum) * gradient
        response[step] = momentum * average + (1 - momentum) * gradient if nesterov else average
    return response


@cache
def autocorrelation(momentum: float, nesterov: bool) -> np.ndarray:
    """ρ_k of the directions for independent gradients."""
    response = impulse_response(momentum, nesterov)
    lagged = np.correlate(response, response, "full")[FILTER_LENGTH - 1 :]
    return lagged / lagged[0]


def effective_lr_sq(lr: float, momentum: float, nesterov: bool) -> float:
    """γ_eff² = γ² / Σ c_j²."""
    return lr**2 / float(np.sum(impulse_response(momentum, nesterov) ** 2))


def steady_norm_sq(lr: float, decay: float, momentum: float, nesterov: bool) -> float:
    """S = γ²/(η(2-η)) · [1 + 2 Σ_{k≥1} (1-η)^k ρ_k]."""
    correlation = autocorrelation(momentum, nesterov)
    memory = (1 - decay) ** np.arange(1, FILTER_LENGTH)
    return lr**2 / (decay * (2 - decay)) * (1 + 2 * float(np.sum(memory * correlation[1:])))


def decay_that_holds(wanted: float, lr: float, momentum: float, nesterov: bool) -> float:
    """η with steady_norm_sq(lr, η, ...) = wanted, by bisection: S falls as η grows."""
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        is_too_large = steady_norm_sq(lr, middle, momentum, nesterov) > wanted
        low, high = (middle, high) if is_too_large else (low, middle)
    return low


def sign_lmo(direction: Tensor) -> Tensor:
    signs = [[math.copysign(1.0, x) / len(row) for x in row] for row in direction.tolist()]
    return torch.tensor(signs, dtype=torch.float64)


def spectral_lmo(direction: Tensor) -> Tensor:
    u, _, vh = torch.linalg.svd(direction, full_matrices=False)
    return math.sqrt(direction.shape[0] / direction.shape[1]) * u @ vh


def spectral_conv_lmo(direction: Tensor) -> Tensor:
    d_out, d_in, *kernel = direction.shape
    u, _, vh = torch.linalg.svd(direction.reshape(d_out, -1), full_matrices=False)
    return (math.sqrt(d_out / d_in) / math.prod(kernel) * u @ vh).reshape(direction.shape)


def bias_lmo(direction: Tensor) -> Tensor:
    return direction / direction.square().mean().sqrt()


def col_norm_lmo(direction: Tensor) -> Tensor:
    return torch.stack([bias_lmo(column) for column in direction.unbind(1)], dim=1)


def row_norm_lmo(direction: Tensor) -> Tensor:
    d_in = direction.shape[1]
    return torch.stack([row / row.square().sum().sqrt() / math.sqrt(d_in) for row in direction.unbind(0)])


@dataclass
class ReferenceScion:
    """θ ← (1-η)θ - γ lmo(direction), one weight at a time; lr and momentum are given anew at each step.

    Attributes:
        weights: float64, replaced by each step.
        lmo: of one weight.
        lr, momentum: where weight_decay was chosen.
        steady_norm_sq: S, instead of weight_decay.
    """

    weights: list[Tensor]
    lmo: Callable[[Tensor], Tensor]
    lr: float
    momentum: float
    nesterov: bool
    rule: str
    weight_decay: float = 0.0
    steady_norm_sq: float | None = None
    averages: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.averages = [torch.zeros_like(weight) for weight in self.weights]

    def step(self, gradients: list[Tensor], lr: float, momentum: float) -> None:
        decay = self.decay(lr, momentum)
        for index, gradient in enumerate(gradients):
            average = momentum * self.averages[index] + (1 - momentum) * gradient
            direction = momentum * average + (1 - momentum) * gradient if self.nesterov else average
            self.averages[index] = average
            self.weights[index] = (1 - decay) * self.weights[index] - lr * self.lmo(direction)

    def decay(self, lr: float, momentum: float) -> float:
        """η of a step under the rule."""
        if lr == 0:
            return 0.0
        reference_decay = self._reference_decay()
        if self.rule == "constant":
            return reference_decay * lr / self.lr
        if self.rule == "corrected":
            effective_sq = effective_lr_sq(lr, momentum, self.nesterov)
            return reference_decay * effective_sq / effective_lr_sq(self.lr, self.momentum, self.nesterov)
        wanted = steady_norm_sq(self.lr, reference_decay, self.momentum, self.nesterov)
        return decay_that_holds(wanted, lr, momentum, self.nesterov)

    def _reference_decay(self) -> float:
        if self.steady_norm_sq is None:
            return self.lr * self.weight_decay
        if self.rule == "corrected":
            return effective_lr_sq(self.lr, self.momentum, self.nesterov) / (2 * self.steady_norm_sq)
        return decay_that_holds(self.steady_norm_sq, self.lr, self.momentum, self.nesterov)
