"""Why a stack on a GPU cannot have the Triton kernel's products."""

from functools import cache

import torch
from torch import Tensor

from steadydecay.polar.gpu.triton_products import TritonProducts

# bfloat16 tensor cores and asynchronous copies begin with Ampere.
LOWEST_CAPABILITY = (8, 0)
# Triton loads 16 bytes at a time only where it can tell that strides and offsets divide by 16 entries.
ALIGNED_ENTRIES = 16


def obstacle_to(x: Tensor) -> str:
    """The first obstacle to the kernel's products of a stack on a GPU, or nothing."""
    return architecture_obstacle(x.device) or alignment_obstacle(x) or triton_obstacle(x.device)


@cache
def architecture_obstacle(device: torch.device) -> str:
    """Why a GPU cannot run the kernel, or nothing."""
    if torch.version.hip:
        return "not tried on AMD GPUs"
    capability = torch.cuda.get_device_capability(device)
    if capability >= LOWEST_CAPABILITY:
        return ""
    return "{} has compute capability {}.{}; the kernel needs {}.{}".format(
        torch.cuda.get_device_name(device), *capability, *LOWEST_CAPABILITY
    )


def alignment_obstacle(x: Tensor) -> str:
    """Why the kernel would read a stack, or its Gram matrices, entry by entry, or nothing."""
    numbers = (*x.shape[-2:], x.storage_offset(), *(stride for stride in x.stride() if stride != 1))
    if all(number % ALIGNED_ENTRIES == 0 for number in numbers) and 1 in x.stride()[-2:]:
        return ""
    sides = "x".join(str(side) for side in x.shape[-2:])
    return f"sides, strides and offset of {sides} matrices must be multiples of {ALIGNED_ENTRIES} entries"


@cache
def triton_obstacle(device: torch.device) -> str:
    """Why Triton's kernel does not run on a device, or nothing: found out by running it on a small matrix."""
    try:
        products = TritonProducts()
    except ImportError as error:
        return f"triton cannot be imported ({error}); pip install triton"
    try:
        products.gram(torch.zeros((1, 2 * ALIGNED_ENTRIES, 2 * ALIGNED_ENTRIES), dtype=torch.bfloat16, device=device))
    # Whatever is missing (a C compiler, as in many containers; a driver that fits), the step can do without.
    except Exception as error:
        lines = str(error).splitlines() or [""]
        return f"triton is installed but fails ({type(error).__name__}: {lines[0]})"
    return ""
