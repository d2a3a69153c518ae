"""Shapes of a schedule: the share of the peak at each step. Pure functions of the step."""

import math
from collections.abc import Callable
from numbers import Integral

from steadydecay.theory.validation import require_in

Shape = str | Callable[[int], float]


def cosine(step: int, steps: int, warmup_steps: int = 0) -> float:
    """Linear warm-up, then half a cosine from 1 towards 0, which step `steps` would reach.

    Args:
        step: 0 ≤ step; from `steps` on the share is 0.
        steps: length of the whole schedule, > warmup_steps.
        warmup_steps: the first of them, with shares 1/warmup_steps, 2/warmup_steps, ...

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
    """Linear warm-up, then a straight line from 1 to 0; arguments as in `cosine`.

    >>> [linear(step, 4) for step in range(5)]
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return max(0.0, (steps - step) / (steps - warmup_steps))


def wsd(step: int, steps: int, warmup_steps: int = 0, decay_steps: int | None = None) -> float:
    """Linear warm-up, a stable phase at 1, then a straight line to 0 (arXiv 2404.06395).

    Args:
        step, steps, warmup_steps: as in `cosine`.
        decay_steps: length of the last phase, from 1 to steps - warmup_steps; by default a fifth of what follows the
            warm-up (arXiv 2405.18392).

    >>> [round(wsd(step, 10), 3) for step in (0, 8, 9, 10)]
    [1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if decay_steps is None:
        decay_steps = max(1, (steps - warmup_steps) // 5)
    return min(1.0, max(0.0, (steps - step) / decay_steps))


def constant(step: int, steps: int = 0, warmup_steps: int = 0) -> float:
    """Linear warm-up, then 1 for ever; arguments as in `cosine`.

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
    """The share of the peak at a step, checked.

    Args:
        shape: a key of `SHAPES`, or any step -> share in [0, 1] (that of `functools.partial(wsd, steps=..., ...)`).
        step: 0 ≤ step. A callable is asked for `steps` at most: after its end a schedule stays where it is.
        steps: length of the schedule, a whole number from 1.
        warmup_steps: a whole number in [0, steps); 0 with a callable, which brings its own.

    Raises:
        ValueError: an argument outside its range, or a share outside [0, 1].

    >>> share_at("linear", 3, 4), share_at(lambda step: 1 / (1 + step), 9, steps=3)
    (0.25, 0.25)
    """
    _require_whole("steps", steps, 1, math.inf)
    _require_whole("warmup_steps", warmup_steps, 0, steps)
    if isinstance(shape, str):
        if shape not in SHAPES:
            names = ", ".join(map(repr, SHAPES))
            raise ValueError(f"shape is {shape!r}; legal are {names} or a callable step -> share of the peak")
        return SHAPES[shape](step, steps, warmup_steps)
    if not callable(shape):
        raise ValueError(f"shape is {shape!r}; legal are a name or a callable step -> share of the peak")
    if warmup_steps:
        raise ValueError(f"warmup_steps is {warmup_steps} with a callable shape; legal is 0: warm up inside the shape")
    step = min(step, steps)
    share = float(shape(step))
    if not 0 <= share <= 1:
        raise ValueError(f"shape({step}) is {share!r}; legal is [0, 1], a share of the peak: divide by the peak")
    return share


def _require_whole(name: str, value: int, low: float, high: float) -> None:
    if not isinstance(value, Integral):
        raise ValueError(f"{name} is {value!r}; legal are whole numbers, of optimizer steps")
    require_in(name, value, low, high, include_low=True, remedy="count optimizer steps, the warm-up among them")
