"""One step of AdamW, and one of Adam with L2, for one weight (Loshchilov & Hutter, arXiv 1711.05101, Algorithm 2).

Both keep ``m ← β₁m + (1-β₁)g̃`` and ``v ← β₂v + (1-β₂)g̃²``. They differ in where the decay λθ enters:

- AdamW: g̃ = g, and ``θ ← θ - γ m̂/(√v̂+ε) - γλθ``;
- Adam with L2: g̃ = g + λθ, and ``θ ← θ - γ m̂/(√v̂+ε)``.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from steadydecay.theory.validation import require_in


class AdamSettings(NamedTuple):
    """What a user of either optimizer chooses.

    Attributes:
        lr: The learning rate γ ≥ 0.
        weight_decay: PyTorch's coefficient λ ≥ 0.
        beta1, beta2: The betas in [0, 1).
        eps: ε > 0.
    """

    lr: float
    weight_decay: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


class AdamMoments(NamedTuple):
    """Adam's state for one weight.

    Attributes:
        first: m, the average of the gradient, in its units.
        second: v ≥ 0, the average of the squared gradient, in squared units.
    """

    first: float = 0.0
    second: float = 0.0


NO_MOMENTS = AdamMoments()


class AdamStep(NamedTuple):
    """The result of a step. ``weight`` is the old weight minus ``task_part`` and ``decay_part``.

    Attributes:
        gradient: g̃, which entered the moments.
        moments: m and v after the step.
        task_part: γ/(√v̂+ε) times m̂, without the contribution of this step's λθ.
        decay_part: γλθ under AdamW. Under Adam with L2, γ/(√v̂+ε) times the contribution of this step's λθ to m̂.
        weight: The new θ.
    """

    gradient: float
    moments: AdamMoments
    task_part: float
    decay_part: float
    weight: float


def adamw_step(
    weight: float,
    gradient: float,
    settings: AdamSettings,
    moments: AdamMoments = NO_MOMENTS,
    step: int | None = None,
) -> AdamStep:
    """Take one step of AdamW, whose decay bypasses the moments.

    Args:
        weight, gradient: θ and g, which must be finite.
        settings: γ, λ, β₁, β₂ and ε.
        moments: The moments before the step.
        step: The number of this step from 1, for the bias correction ``m̂ = m/(1-β₁ᵗ)``. None omits it, as late in
            training.

    Raises:
        ValueError: An argument is outside its range.

    >>> after = adamw_step(*EXAMPLE)
    >>> round(after.weight, 6), round(after.task_part, 6), round(after.decay_part, 6)
    (0.399854, 0.000134, 1.2e-05)
    """
    _require_legal(weight, gradient, settings, moments, step)
    after = _moved(gradient, settings, moments)
    task_part = _lr_per_moment(after, settings, step) * after.first
    decay_part = settings.lr * settings.weight_decay * weight
    return AdamStep(gradient, after, task_part, decay_part, weight - task_part - decay_part)


def adam_l2_step(
    weight: float,
    gradient: float,
    settings: AdamSettings,
    moments: AdamMoments = NO_MOMENTS,
    step: int | None = None,
) -> AdamStep:
    """Take one step of Adam with L2, whose decay passes through the moments.

    Args:
        weight, gradient, settings, moments, step: As for `adamw_step`.

    Raises:
        ValueError: As for `adamw_step`.

    >>> after = adam_l2_step(*EXAMPLE)
    >>> round(after.weight, 6), round(after.gradient, 12)
    (0.399866, 0.05)
    >>> round(after.moments.second / adamw_step(*EXAMPLE).moments.second, 6)
    25.0
    """
    _require_legal(weight, gradient, settings, moments, step)
    penalty = settings.weight_decay * weight
    after = _moved(gradient + penalty, settings, moments)
    lr_per_moment = _lr_per_moment(after, settings, step)
    decay_part = lr_per_moment * (1 - settings.beta1) * penalty
    task_part = lr_per_moment * after.first - decay_part
    return AdamStep(gradient + penalty, after, task_part, decay_part, weight - lr_per_moment * after.first)


AdamUpdate = Callable[[float, float, AdamSettings, AdamMoments, int | None], AdamStep]


def adam_path(update: AdamUpdate, weight: float, gradients: Iterable[float], settings: AdamSettings) -> list[float]:
    """Return the weight before the first and after each step, starting from zero moments, with bias correction.

    Without a gradient, AdamW shrinks the weight by the factor 1-γλ. Adam with L2 removes γ from it, whatever its size
    and λ (slightly less while v still remembers a larger weight):

    >>> weight, _, settings = EXAMPLE
    >>> [round(weight, 4) for weight in adam_path(adamw_step, weight, [0.0] * 1000, settings)[::500]]
    [0.4, 0.394, 0.3882]
    >>> [round(weight, 4) for weight in adam_path(adam_l2_step, weight, [0.0] * 1000, settings)[::500]]
    [0.4, 0.2513, 0.1039]

    Args:
        update: `adamw_step` or `adam_l2_step`.
        weight: θ at the start.
        gradients: g of each step.
        settings: The settings of all steps.

    Raises:
        ValueError: An argument is outside its range.
    """
    weights, moments = [weight], AdamMoments()
    for step, gradient in enumerate(gradients, 1):
        after = update(weights[-1], gradient, settings, moments, step)
        weights.append(after.weight)
        moments = after.moments
    return weights


# A late step worked by hand, with zero moments: weight, gradient and settings. `reproduce seed003` prints it.
EXAMPLE = (0.4, 0.01, AdamSettings(lr=3e-4, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-8))


def _moved(gradient: float, settings: AdamSettings, before: AdamMoments) -> AdamMoments:
    return AdamMoments(
        first=settings.beta1 * before.first + (1 - settings.beta1) * gradient,
        second=settings.beta2 * before.second + (1 - settings.beta2) * gradient**2,
    )


def _lr_per_moment(moments: AdamMoments, settings: AdamSettings, step: int | None) -> float:
    """Return γ / ((1-β₁ᵗ)(√v̂+ε)), the factor from m to what the weight loses."""
    first_correction = 1.0 if step is None else 1 - settings.beta1**step
    second_correction = 1.0 if step is None else 1 - settings.beta2**step
    root = math.sqrt(moments.second / second_correction)
    return settings.lr / (first_correction * (root + settings.eps))


def _require_legal(
    weight: float, gradient: float, settings: AdamSettings, moments: AdamMoments, step: int | None
) -> None:
    finite = {"weight": weight, "gradient": gradient, "moments.first": moments.first}
    for name, value in finite.items():
        require_in(name, value, -math.inf)
    for name, value in {"lr": settings.lr, "weight_decay": settings.weight_decay}.items():
        require_in(name, value, 0, include_low=True)
    for name, value in {"beta1": settings.beta1, "beta2": settings.beta2}.items():
        require_in(name, value, 0, 1, include_low=True)
    require_in("eps", settings.eps, 0, remedy="without it a weight that never had a gradient gives 0/0")
    require_in("moments.second", moments.second, 0, include_low=True, remedy="it is a mean of squares")
    if step is not None:
        require_in("step", step, 1, include_low=True, remedy="the first step is 1; None leaves the correction out")
