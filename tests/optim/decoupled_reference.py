"""Slow float64 Lion, SGDW, AdamW and renormalised AdamW, written from their equations; nothing from steadydecay.

Momentum is an impulse response, correlations are sums over it, the exact rule is a bisection.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

# 0.95 ** 600 is 4e-14: what is cut off is below the rounding of everything else.
FILTER_LENGTH = 600
Direction = Callable[[Any, Any, Any], tuple[Any, Any]]


def lion_direction(average: Any, gradient: Any, betas: Any) -> tuple[Any, Any]:
    """The direction, and the momentum that follows."""
    beta1, beta2 = betas
    return beta1 * average + (1 - beta1) * gradient, beta2 * average + (1 - beta2) * gradient


def heavy_ball_direction(total: Any, gradient: Any, momentum: Any) -> tuple[Any, Any]:
    total = momentum * total + gradient
    return total, total


def nesterov_direction(total: Any, gradient: Any, momentum: Any) -> tuple[Any, Any]:
    total = momentum * total + gradient
    return gradient + momentum * total, total


def no_direction(nothing: Any, gradient: Any, momentum: Any) -> tuple[Any, Any]:
    return gradient, nothing


def impulse_response(direction: Direction, momentum: Any) -> np.ndarray:
    """The directions that follow one gradient of 1 and then zeros."""
    stored, response = 0.0, np.zeros(FILTER_LENGTH)
    for step in range(FILTER_LENGTH):
        response[step], stored = direction(stored, 1.0 if step == 0 else 0.0, momentum)
    return response


def norm_sq_per_gradient(
    direction: Direction,
    is_normalized: bool,
    lr: float,
    decay: float,
    momentum: Any,
    bend: Callable[[Any], Any] = lambda correlation: correlation,
) -> float:
    """E‖θ‖² for independent gradients: for unit updates if normalised, else for unit variance. `bend` acts on ρ_k."""
    response = impulse_response(direction, momentum)
    lagged = np.correlate(response, response, "full")[FILTER_LENGTH - 1 :]
    size_sq = 1.0 if is_normalized else lagged[0]
    memory = (1 - decay) ** np.arange(1, FILTER_LENGTH)
    return lr**2 * size_sq / (decay * (2 - decay)) * (1 + 2 * float(np.sum(memory * bend(lagged[1:] / lagged[0]))))


@dataclass
class ReferenceDecay:
    """η of a step under a rule.

    Attributes:
        direction: momentum, as (stored, gradient, hyperparameter) -> (direction, stored).
        is_normalized: the size of the direction does not matter.
        lr, momentum, weight_decay: at the reference.
    """

    direction: Direction
    is_normalized: bool
    lr: float
    momentum: Any
    weight_decay: float

    def at(self, rule: str, lr: float, momentum: Any) -> float:
        start = self.lr * self.weight_decay
        if lr == 0:
            return 0.0
        if rule == "constant":
            return start * lr / self.lr
        if rule == "corrected":
            return start * self._effective_lr_sq(lr, momentum) / self._effective_lr_sq(self.lr, self.momentum)
        assert rule == "exact", f"ReferenceDecay.at has no reference for the rule {rule!r}: write one here"
        wanted = self._norm_sq(self.lr, start, self.momentum)
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self._norm_sq(lr, middle, momentum) > wanted else (low, middle)
        return low

    def _norm_sq(self, lr: float, decay: float, momentum: Any) -> float:
        return norm_sq_per_gradient(self.direction, self.is_normalized, lr, decay, momentum)

    def _effective_lr_sq(self, lr: float, momentum: Any) -> float:
        """What one gradient adds in all, squared: (Σc)², over the update's own size where that is normalised."""
        response = impulse_response(self.direction, momentum)
        size_sq = float(np.sum(response**2)) if self.is_normalized else 1.0
        return lr**2 * float(np.sum(response)) ** 2 / size_sq


@dataclass
class ReferenceOptimizer:
    """θ ← (1-η)θ - γu, one weight at a time; lr and momentum are given anew at each step.

    Attributes:
        weights: float64, replaced by each step.
        rule: for the decay.
    """

    weights: list[Tensor]
    lr: float
    momentum: Any
    weight_decay: float
    rule: str
    stored: list[Any] = field(init=False)
    steps: int = 0
    # Without annotations: of the class, not fields of the dataclass.
    direction = staticmethod(no_direction)
    is_normalized = True

    def __post_init__(self) -> None:
        self.stored = [torch.zeros_like(weight) for weight in self.weights]
        self.decay = ReferenceDecay(self.direction, self.is_normalized, self.lr, self.momentum, self.weight_decay)

    def step(self, gradients: list[Tensor], lr: float, momentum: Any) -> None:
        self.steps += 1
        decay = self.decay.at(self.rule, lr, momentum)
        for index, gradient in enumerate(gradients):
            update = self.update(index, gradient, momentum)
            self.weights[index] = self.moved(self.weights[index], update, lr, decay)

    def update(self, index: int, gradient: Tensor, momentum: Any) -> Tensor:
        raise NotImplementedError

    def moved(self, weight: Tensor, update: Tensor, lr: float, decay: float) -> Tensor:
        return (1 - decay) * weight - lr * update


class ReferenceLion(ReferenceOptimizer):
    direction = staticmethod(lion_direction)

    def update(self, index: int, gradient: Tensor, momentum: Any) -> Tensor:
        direction, self.stored[index] = lion_direction(self.stored[index], gradient, momentum)
        return direction / direction.abs()


class ReferenceSGDW(ReferenceOptimizer):
    direction = staticmethod(heavy_ball_direction)
    is_normalized = False

    def update(self, index: int, gradient: Tensor, momentum: Any) -> Tensor:
        update, self.stored[index] = self.direction(self.stored[index], gradient, momentum)
        return update


class ReferenceNesterovSGDW(ReferenceSGDW):
    direction = staticmethod(nesterov_direction)


class ReferenceAdamW(ReferenceOptimizer):
    """Momentum does not enter the decay (arXiv 2512.08217, Appendix B). ε = 1e-8."""

    is_amsgrad = False

    def update(self, index: int, gradient: Tensor, momentum: Any) -> Tensor:
        beta1, beta2 = momentum
        if self.steps == 1:
            self.stored[index] = (torch.zeros_like(gradient),) * 3
        first, second, largest = self.stored[index]
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        largest = torch.maximum(largest, second)
        self.stored[index] = first, second, largest
        scale = largest if self.is_amsgrad else second
        return (first / (1 - beta1**self.steps)) / ((scale / (1 - beta2**self.steps)) ** 0.5 + 1e-8)


class ReferenceAmsgradW(ReferenceAdamW):
    is_amsgrad = True


class ReferenceRenormalizedAdamW(ReferenceAdamW):
    """Algorithm 1. `parallel` and `perpendicular` hold u∥ and ‖u⊥‖ of each weight's last step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parallel: dict[int, float] = {}
        self.perpendicular: dict[int, float] = {}

    def update(self, index: int, gradient: Tensor, momentum: Any) -> Tensor:
        update, weight = super().update(index, gradient, momentum), self.weights[index]
        self.parallel[index] = float((weight * update).sum() / weight.norm())
        self.perpendicular[index] = float((update - self.parallel[index] * weight / weight.norm()).norm())
        return update

    def moved(self, weight: Tensor, update: Tensor, lr: float, decay: float) -> Tensor:
        moved = super().moved(weight, update, lr, decay)
        parallel = (weight * update).sum() / weight.norm()
        return moved / moved.norm() * ((1 - decay) * weight.norm() - lr * parallel).abs()
