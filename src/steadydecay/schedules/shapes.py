"""Shapes of schedules: pure functions from a step to a share of the peak."""

import math
from collections.abc import Callable
from numbers import Integral

from steadydecay.theory.validation import require_in

Shape = str | Callable[[int], float]


def cosine(step: int, steps: int, warmup_steps: int = 0) -> float:
    """Return the share of the peak under a linear warm-up, then half a cosine from 1 towards 0, which it reaches at
    `steps`.

    Args:
        step: The step, 0 or more. From `steps` on the share is 0.
        steps: The length of the whole schedule, more than `warmup_steps`.
        warmup_steps: How many of these steps warm up, with shares 1/warmup_steps, 2/warmup_steps, ...

    >>> [round(cosine(step, 4), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    >>> cosine(0, 10, warmup_steps=2)
    0.5
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / (steps - warmup_steps))
    return 0.5 * (1 + math.cos(math.pi * progress))


def linear(step: int, steps: int, warmup_steps: int = 0) -> float:
    """Return the share under a linear warm-up, then a straight line from 1 to 0. Arguments are as in `cosine`.

    >>> [linear(step, 4) for step in range(5)]
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return max(0.0, (steps - step) / (steps - warmup_steps))


def wsd(step: int, steps: int, warmup_steps: int = 0, decay_steps: int | None = None) -> float:
    """Return the share under a linear warm-up, a stable phase at 1, then a straight line to 0 (arXiv 2404.06395).

    Args:
        step, steps, warmup_steps: As in `cosine`.
        decay_steps: The length of the last phase, from 1 to steps - warmup_steps. The default is a fifth of what
            follows the warm-up (arXiv 2405.18392).

    >>> [round(wsd(step, 10), 3) for step in (0, 8, 9, 10)]
    [1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if decay_steps is None:
        decay_steps = max(1, (steps - warmup_steps) // 5)
    return min(1.0, max(0.0, (steps - step) / decay_steps))


def constant(step: int, steps: int = 0, warmup_steps: int = 0) -> float:
    """Return the share under a linear warm-up, then 1 for ever. Arguments are as in `cosine`.

    >>> [constant(step, warmup_steps=2) for step in range(3)]
    [0.5, 1.0, 1.0]
    """
    return (step + 1) / warmup_steps if step < warmup_steps else 1.0


SHAPES: dict[str, Callable[[int, int, int], float]] = {
    "cosine": cosine,
    "linear": linear,
    "wsd": wsd,
    "constant": constant,
}


def share_at(shape: Shape, step: int, steps: int, warmup_steps: int = 0) -> float:
    """Return the share of the peak at a step, after checking all arguments.

    Args:
        shape: A key of `SHAPES`, or any callable from the step to a share in [0, 1], such as `functools.partial(wsd,
            steps=..., ...)`.
        step: The step, 0 or more. A callable is asked for `steps` at most, because a schedule stays at its last value.
        steps: The length of the schedule, a whole number of 1 or more.
        warmup_steps: A whole number in [0, steps). It must be 0 with a callable, which includes its own warm-up.

    Raises:
        ValueError: An argument is outside its range, or a share is outside [0, 1].

    >>> share_at("linear", 3, 4), share_at(lambda step: 1 / (1 + step), 9, steps=3)
    (0.25, 0.25)
    """
    _require_whole("steps", steps, 1, math.inf)
    _require_whole("warmup_steps", warmup_steps, 0, steps)
    if isinstance(shape, str):
        if shape not in SHAPES:
            names = ", ".join(map(repr, SHAPES))
            raise ValueError(f"shape is {shape!r}; it must be one of {names}, or a callable step -> share of the peak")
        return SHAPES[shape](step, steps, warmup_steps)
    if not callable(shape):
        raise ValueError(f"shape is {shape!r}; it must be a name or a callable step -> share of the peak")
    if warmup_steps:
        raise ValueError(
            f"warmup_steps is {warmup_steps}; it must be 0 with a callable shape, which includes its own warm-up"
        )
    step = min(step, steps)
    share = float(shape(step))
    if not 0 <= share <= 1:
        raise ValueError(
            f"shape({step}) is {share!r}; it must be in [0, 1]: return a share of the peak, not the lr itself"
        )
    return share


def _require_whole(name: str, value: int, low: float, high: float) -> None:
    if not isinstance(value, Integral):
        raise ValueError(f"{name} is {value!r}; it must be a whole number of optimizer steps")
    require_in(name, value, low, high, include_low=True, remedy="count optimizer steps, including the warm-up")
