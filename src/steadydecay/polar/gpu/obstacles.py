"""Reasons why the Triton kernel cannot multiply a stack on a GPU, as clauses that follow "because"."""

from functools import cache

import torch
from torch import Tensor

from steadydecay.polar.gpu.triton_products import TritonProducts

# bfloat16 tensor cores and asynchronous copies begin with Ampere.
LOWEST_CAPABILITY = (8, 0)
# Triton loads 16 bytes at a time only where it can tell that strides and offsets divide by 16 entries.
ALIGNED_ENTRIES = 16


def obstacle_to(x: Tensor) -> str:
    """Return the first obstacle that keeps the kernel from multiplying a stack on a GPU, or an empty string."""
    return architecture_obstacle(x.device) or alignment_obstacle(x) or triton_obstacle(x.device)


@cache
def architecture_obstacle(device: torch.device) -> str:
    """Return why a GPU cannot run the kernel, or an empty string."""
    if torch.version.hip:
        return "it has not been tried on AMD GPUs"
    capability = torch.cuda.get_device_capability(device)
    if capability >= LOWEST_CAPABILITY:
        return ""
    return "{} has compute capability {}.{}, but the kernel needs {}.{}".format(
        torch.cuda.get_device_name(device), *capability, *LOWEST_CAPABILITY
    )


def alignment_obstacle(x: Tensor) -> str:
    """Return why the kernel would read a stack or its Gram matrices entry by entry, or an empty string."""
    numbers = (*x.shape[-2:], x.storage_offset(), *(stride for stride in x.stride() if stride != 1))
    if all(number % ALIGNED_ENTRIES == 0 for number in numbers) and 1 in x.stride()[-2:]:
        return ""
    sides = "x".join(str(side) for side in x.shape[-2:])
    return f"the sides, strides and offset of {sides} matrices must be multiples of {ALIGNED_ENTRIES} entries"


@cache
def triton_obstacle(device: torch.device) -> str:
    """Return why the kernel does not run on a device, or an empty string, by running it on a small matrix."""
    try:
        products = TritonProducts()
    except ImportError as error:
        return f"triton cannot be imported ({error}); install it with pip install triton"
    try:
        products.gram(torch.zeros((1, 2 * ALIGNED_ENTRIES, 2 * ALIGNED_ENTRIES), dtype=torch.bfloat16, device=device))
    # Whatever is missing, such as a C compiler in many containers or a driver that fits, the step does without it.
    except Exception as error:
        lines = str(error).splitlines() or [""]
        return f"triton is installed but fails ({type(error).__name__}: {lines[0]})"
    return ""
