"""The products of which every form of Polar Express is made, as general ones or with half the work where symmetric.

Operands are stacks (batch, n, n) or (batch, n, m) of one dtype on one device. Results are new tensors, or `out`, unless
said otherwise.
"""

import logging
from collections.abc import Sequence
from functools import cache
from typing import Protocol, final

import torch
from torch import Tensor

# The smallest side at which a published kernel like ours wins: 1.19 times at 2048, nothing at 1024, single matrices on
# an H800. Not measured with ours.
SMALLEST_TRITON_SIDE = 2048
# bfloat16 tensor cores and asynchronous copies begin with Ampere.
LOWEST_CAPABILITY = (8, 0)
# Triton loads 16 bytes at a time only where it can tell that strides and offsets divide by 16 entries.
ALIGNED_ENTRIES = 16

logger = logging.getLogger(__name__)


class Products(Protocol):
    """A way to compute them."""

    def squares(self, x: Tensor, count: int) -> Sequence[Tensor]:
        """Room for as many matrices of the size of xxᵀ.

        The next `gram` and `transformed` may lose what is in them, but for their own arguments.
        """
        ...

    def gram(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """xxᵀ, (batch, n, n); x may be a transposed view."""
        ...

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        """beta·addend + alpha·left·right, known to be symmetric: addend is, and left and right are and commute."""
        ...

    def transformed(
        self, x: Tensor, scale: float, matrix: Tensor, other: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """scale·x + matrix·x of a wide x, scale·x + x·matrix of a tall one; and `other` for the next time.

        Args:
            x: lost; the result may be in it.
            scale, matrix: as above.
            other: room of x's shape, where the result is put if it is given.
        """
        ...


@final
class GemmProducts:
    """torch's products, for every device and dtype."""

    def squares(self, x: Tensor, count: int) -> Sequence[Tensor]:
        side = min(x.shape[-2:])
        return x.new_empty(count, *x.shape[:-2], side, side).unbind()

    def gram(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.bmm(x, x.mT, out=out)

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        return torch.baddbmm(addend, left, right, beta=beta, alpha=alpha, out=out)

    def transformed(
        self, x: Tensor, scale: float, matrix: Tensor, other: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        left, right = (x, matrix) if is_tall(x) else (matrix, x)
        return torch.baddbmm(x, left, right, beta=scale, out=other), x


@final
class TritonProducts:
    """Symmetric products by `steadydecay.polar.gpu.triton_kernels`, bitwise symmetric; the others are torch's.

    Raises:
        ImportError: triton is not installed.
    """

    def __init__(self) -> None:
        from steadydecay.polar.gpu.triton_kernels import symmetric_product

        self._symmetric_product = symmetric_product

    def squares(self, x: Tensor, count: int) -> Sequence[Tensor]:
        return GEMM_PRODUCTS.squares(x, count)

    def gram(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self._symmetric_product(x, x.mT, out=out)

    def symmetric(
        self, addend: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float, out: Tensor | None = None
    ) -> Tensor:
        return self._symmetric_product(left, right, addend, beta, alpha, out)

    def transformed(
        self, x: Tensor, scale: float, matrix: Tensor, other: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        return GEMM_PRODUCTS.transformed(x, scale, matrix, other)


GEMM_PRODUCTS = GemmProducts()


def products_for(x: Tensor) -> Products:
    """The fastest products for a stack: Triton's for large half-precision matrices on CUDA, else torch's.

    Where Triton's would be faster but cannot run, a log line says why, once for each reason. The first call on a device
    compiles and runs the kernel; make it before capturing a CUDA graph.

    Args:
        x: (batch, n, m), wide or tall, with entries of its storage or a view of it; not read.
    """
    is_half = x.dtype in (torch.float16, torch.bfloat16)
    if not x.is_cuda or not is_half or min(x.shape[-2:]) < SMALLEST_TRITON_SIDE:
        return GEMM_PRODUCTS
    obstacle = architecture_obstacle(x.device) or alignment_obstacle(x) or triton_obstacle(x.device)
    if obstacle:
        _say_once(obstacle)
        return GEMM_PRODUCTS
    return TritonProducts()


def is_tall(x: Tensor) -> bool:
    """More rows than columns."""
    return x.shape[-2] > x.shape[-1]


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


@cache
def _say_once(obstacle: str) -> None:
    logger.warning("Symmetric products take twice the work they need: %s.", obstacle)
