"""θ ← (1-η)θ - γu for weights in bfloat16 and float16, whose decay and small updates would round away.

A decay of 2⁻¹² is below half a unit in the last place of bfloat16 (8 significant bits): (1-η)θ rounds back to θ, and
there is no decay at all. Two remedies, measured in docs/low_precision.md:

- "compensated": what rounding took off is kept in a second number of the same dtype and given back in the next step
  (Kahan's summation; Zamirai et al., arXiv 2010.06192). Two bytes more for each weight.
- "stochastic": round up or down at random so that the mean is right (same source). No bytes, but noise.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LOW_PRECISION = ("compensated", "stochastic", "none")
LOW_PRECISION_DTYPES = (torch.bfloat16, torch.float16)
BITS_32 = 0xFFFFFFFF
# A factor that spreads 32 bits well (Mueller's integer hash) and whose products stay within int64.
SPREAD = 0x45D9F3B


def is_low_precision(parameter: Tensor) -> bool:
    """Whether a decay of 2⁻¹² can vanish in this dtype."""
    return parameter.dtype in LOW_PRECISION_DTYPES


def exact(weight: Tensor, compensation: Tensor) -> Tensor:
    """What a weight in bfloat16 or float16 and its compensation stand for, in float32: weight + ε · compensation."""
    return weight.float().add(compensation.float(), alpha=torch.finfo(weight.dtype).eps)


def compensated(
    weight: Tensor, compensation: Tensor, scaled_update: Tensor, decay: float | Tensor
) -> tuple[Tensor, Tensor]:
    """The next weight and its compensation, as new tensors; entries that neither decay nor move keep their bits.

    Args:
        weight: in bfloat16 or float16; stands for weight + ε · compensation, ε = `torch.finfo(dtype).eps`.
        compensation: as weight; zeros to begin. In units of ε so that float16 does not underflow.
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
    """The next weight, rounded up with the probability of what it lies above; its mean is the exact value.

    Args:
        weight, scaled_update, decay: as in `compensated`.
        uniform: random numbers in [0, 1) of weight's shape, in float32: `uniform_of_step`.
    """
    value = _moved(weight.float(), scaled_update, decay)
    unit = _unit_in_the_last_place(value, weight.dtype)
    return ((value / unit + uniform).floor() * unit).to(weight.dtype).where(value != weight, weight)


def uniform_of_step(like: Tensor, rounding_step: Tensor, positions: Tensor | None = None) -> Tensor:
    """Random numbers in [0, 1) in float32 that are a function of the step and of an entry's place in the weight alone.

    So ranks that hold the same weight round it the same way, each a part of it or all, a resumed run rounds as the
    first one would have, and the global generator is left to the model.

    Args:
        like: of the wanted shape and device.
        rounding_step: 0-d int64 tensor, counted on with each step.
        positions: of each entry in the whole weight, int64 of like's shape, where `like` is a part of it.
    """
    places = torch.arange(like.numel(), device=like.device) if positions is None else positions.reshape(-1)
    bits = _mixed(_mixed(places) ^ _mixed(rounding_step))
    # 24 bits: a float32 of more would round up to 1.
    return ((bits >> 8).float() * 2.0**-24).view(like.shape)


def keeps_compensation(parameter: Tensor, mode: str) -> bool:
    """Whether an optimizer in this mode keeps what rounding took off such a parameter."""
    return mode == "compensated" and is_low_precision(parameter)


def new_state(
    parameter: Tensor, mode: str, zeros_like: Callable[[Tensor], Tensor] = torch.zeros_like
) -> dict[str, Any]:
    """State that a parameter needs from construction on: "compensation", or nothing."""
    return {"compensation": zeros_like(parameter)} if keeps_compensation(parameter, mode) else {}


def require_mode(mode: str) -> None:
    """ValueError unless `mode` is one of `LOW_PRECISION`."""
    if mode not in LOW_PRECISION:
        raise ValueError(f"low_precision is {mode!r}; legal are {', '.join(map(repr, LOW_PRECISION))}")


def require_deterministic(mode: str) -> None:
    """ValueError unless `mode` is "compensated" or "none": for optimizers that count no steps."""
    if mode not in ("compensated", "none"):
        raise ValueError(f"low_precision is {mode!r}; legal are 'compensated', 'none'")


def _moved(value: Tensor, scaled_update: Tensor, decay: float | Tensor) -> Tensor:
    return value * (1 - decay) - scaled_update.float()


def _unit_in_the_last_place(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Spacing of `dtype` around each float32 value: its power of two by masking the exponent bits, times ε."""
    power = (value.view(torch.int32) & 0x7F800000).view(torch.float32)
    # Not below the smallest normal float32: some devices flush what is smaller to zero, and 0/0 is NaN.
    smallest = max(torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps, torch.finfo(torch.float32).tiny)
    return (power * torch.finfo(dtype).eps).clamp(min=smallest)


def _mixed(numbers: Tensor) -> Tensor:
    """32 bits that look random, from the low 32 of int64; one to one."""
    x = numbers & BITS_32
    for _ in range(2):
        x = ((x ^ (x >> 16)) * SPREAD) & BITS_32
    return x ^ (x >> 16)
