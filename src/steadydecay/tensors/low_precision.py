"""θ ← (1-η)θ - γu for weights in bfloat16 and float16, where rounding would erase the decay and small updates.

A decay of 2⁻¹² is below half a unit in the last place of bfloat16 (8 significant bits): (1-η)θ rounds back to θ, so
that there is no decay at all. There are two remedies, measured in docs/low_precision.md:

- "compensated" keeps what rounding removed in a second number of the same dtype and adds it back in the next step
  (Kahan summation; Zamirai et al., arXiv 2010.06192). This takes two more bytes for each weight.
- "stochastic" rounds up or down at random so that the mean is right (same source). This takes no memory but adds noise.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LOW_PRECISION = ("compensated", "stochastic", "none")
LOW_PRECISION_DTYPES = (torch.bfloat16, torch.float16)
BITS_32 = 0xFFFFFFFF
# This factor mixes 32 bits well (Mueller's integer hash), and its products stay within int64.
SPREAD = 0x45D9F3B


def is_low_precision(parameter: Tensor) -> bool:
    """Return whether a decay of 2⁻¹² can vanish by rounding in this parameter's dtype."""
    return parameter.dtype in LOW_PRECISION_DTYPES


def exact(weight: Tensor, compensation: Tensor) -> Tensor:
    """Return the float32 value that a weight and its compensation stand for: weight + ε · compensation."""
    return weight.float().add(compensation.float(), alpha=torch.finfo(weight.dtype).eps)


def compensated(
    weight: Tensor, compensation: Tensor, scaled_update: Tensor, decay: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Return the next weight and its compensation as new tensors. Entries that neither decay nor move keep their bits.

    Args:
        weight: The weight in bfloat16 or float16. It represents weight + ε · compensation, with ε =
            `torch.finfo(dtype).eps`.
        compensation: A tensor like `weight`, zero at first. It is in units of ε so that float16 does not underflow.
        scaled_update: γu, of any dtype.
        decay: η in [0, 1).
    """
    epsilon = torch.finfo(weight.dtype).eps
    value = _moved(exact(weight, compensation), scaled_update, decay)
    moves = (scaled_update != 0) | (torch.as_tensor(decay) != 0)
    # Not value.to(dtype).float(): Inductor leaves out such a round trip, and the remainder would be 0.
    unit = _unit_in_the_last_place(value, weight.dtype)
    rounded = (value / unit).round() * unit
    remainder = ((value - rounded) / epsilon).to(weight.dtype)
    return rounded.to(weight.dtype).where(moves, weight), remainder.where(moves, compensation)


def stochastic(weight: Tensor, scaled_update: Tensor, decay: float | Tensor, uniform: Tensor) -> Tensor:
    """Return the next weight, rounded up with a probability such that its mean is the exact value.

    Args:
        weight, scaled_update, decay: As in `compensated`.
        uniform: Random numbers in [0, 1) of the weight's shape in float32, from `uniform_of_step`.
    """
    value = _moved(weight.float(), scaled_update, decay)
    unit = _unit_in_the_last_place(value, weight.dtype)
    return ((value / unit + uniform).floor() * unit).to(weight.dtype).where(value != weight, weight)


def uniform_of_step(like: Tensor, rounding_step: Tensor, positions: Tensor | None = None) -> Tensor:
    """Return random numbers in [0, 1) in float32 that depend only on the step and on each entry's position in the
    weight.

    Ranks that hold the same weight, or parts of it, therefore round it alike, a resumed run rounds as the uninterrupted
    run would have, and the global random generator stays untouched.

    Args:
        like: A tensor of the desired shape and device.
        rounding_step: A 0-d int64 tensor that counts the steps.
        positions: The position of each entry in the whole weight, as int64 of the shape of `like`, if `like` is a part
            of it.
    """
    places = torch.arange(like.numel(), device=like.device) if positions is None else positions.reshape(-1)
    bits = _mixed(_mixed(places) ^ _mixed(rounding_step))
    # Only 24 bits, because a float32 made of more would round up to 1.
    return ((bits >> 8).float() * 2.0**-24).view(like.shape)


def keeps_compensation(parameter: Tensor, mode: str) -> bool:
    """Return whether an optimizer in this mode keeps a compensation for such a parameter."""
    return mode == "compensated" and is_low_precision(parameter)


def new_state(
    parameter: Tensor, mode: str, zeros_like: Callable[[Tensor], Tensor] = torch.zeros_like
) -> dict[str, Any]:
    """Return the state that a parameter needs from construction on: a "compensation", or nothing."""
    return {"compensation": zeros_like(parameter)} if keeps_compensation(parameter, mode) else {}


def require_mode(mode: str) -> None:
    """Raise ValueError unless `mode` is one of `LOW_PRECISION`."""
    if mode not in LOW_PRECISION:
        raise ValueError(f"low_precision is {mode!r}; it must be one of {', '.join(map(repr, LOW_PRECISION))}")


def require_deterministic(mode: str) -> None:
    """Raise ValueError unless `mode` is "compensated" or "none", the modes of optimizers that do not count steps."""
    if mode not in ("compensated", "none"):
        raise ValueError(f"low_precision is {mode!r}; it must be 'compensated' or 'none'")


def _moved(value: Tensor, scaled_update: Tensor, decay: float | Tensor) -> Tensor:
    return value * (1 - decay) - scaled_update.float()


def _unit_in_the_last_place(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the spacing of `dtype` around each float32 value: its power of two, found by masking the exponent bits,
    times ε.
    """
    power = (value.view(torch.int32) & 0x7F800000).view(torch.float32)
    # Not below the smallest normal float32: some devices flush what is smaller to zero, and 0/0 is NaN.
    smallest = max(torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps, torch.finfo(torch.float32).tiny)
    return (power * torch.finfo(dtype).eps).clamp(min=smallest)


def _mixed(numbers: Tensor) -> Tensor:
    """Return 32 bits that look random, one-to-one from the low 32 bits of each int64."""
    x = numbers & BITS_32
    for _ in range(2):
        x = ((x ^ (x >> 16)) * SPREAD) & BITS_32
    return x ^ (x >> 16)
