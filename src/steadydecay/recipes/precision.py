"""Autocast to bfloat16 where the hardware is fast at it."""

import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context for a forward pass.

    Args:
        precision: "float32", "bfloat16", or "auto": bfloat16 on CUDA and on CPUs with AVX512-BF16.
        device: of the pass.

    Raises:
        ValueError: unknown precision.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(precision, device))


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether `autocast` does. Raises as it does."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; legal are {', '.join(map(repr, PRECISIONS))}")
    return precision == "bfloat16" or (precision == "auto" and _has_fast_bfloat16(device))


def _has_fast_bfloat16(device: torch.device) -> bool:
    # oneDNN's "bf16 supported" also says yes where it is emulated and 20 times slower.
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
