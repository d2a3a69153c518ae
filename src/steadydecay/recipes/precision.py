"""Use autocast to bfloat16 where the hardware computes fast in it."""

import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context for a forward pass.

    Args:
        precision: "float32", "bfloat16", or "auto", which is bfloat16 on CUDA and on CPUs with AVX512-BF16.
        device: The device of the forward pass.

    Raises:
        ValueError: The precision is unknown.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(precision, device))


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Return whether `autocast` uses bfloat16. Raises the same error."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; it must be one of {', '.join(map(repr, PRECISIONS))}")
    return precision == "bfloat16" or (precision == "auto" and _has_fast_bfloat16(device))


def _has_fast_bfloat16(device: torch.device) -> bool:
    # oneDNN also reports bf16 as supported where it is emulated and 20 times slower.
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
