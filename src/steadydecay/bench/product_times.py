"""Measure how fast this device multiplies matrices, which is a rate that no iteration of products can beat."""

import time

import torch

from steadydecay.polar.choice import HAS_FAST_BFLOAT16

SIDES = {"cpu": (768, 1024, 1536), "cuda": (4096, 8192)}
REPEATS = 3


def dtypes_of(device: torch.device) -> list[torch.dtype]:
    """Return the dtypes to measure: float32, and the half precision that Polar Express uses on this device."""
    if device.type == "cuda":
        return [torch.float32, torch.float16]
    return [torch.float32, torch.bfloat16] if HAS_FAST_BFLOAT16 else [torch.float32]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def products_rate(dtype: torch.dtype, device: torch.device, sides: tuple[int, ...] | None = None) -> float:
    """Return the FLOP/s of square products, the best over sizes and repeats."""
    sides = sides or SIDES.get(device.type, SIDES["cpu"])
    return max(2 * side**3 / _fastest_product(side, dtype, device) for side in sides)


def _fastest_product(side: int, dtype: torch.dtype, device: torch.device) -> float:
    matrix = torch.randn(side, side, device=device).to(dtype)
    result = torch.empty_like(matrix)
    durations = []
    for _ in range(REPEATS):
        synchronize(device)
        start = time.perf_counter()
        torch.mm(matrix, matrix, out=result)
        synchronize(device)
        durations.append(time.perf_counter() - start)
    return min(durations)
