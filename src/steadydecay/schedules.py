"""Shapes of a schedule: the share of the peak at each step. Pure functions of the step."""

import math


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
