"""Which dtype and form `polar_express` takes, the fastest within their budget of accuracy, and whose products."""

import logging
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

from steadydecay.polar.cpu.single_products import is_alone_faster
from steadydecay.polar.gpu.obstacles import obstacle_to
from steadydecay.polar.gpu.triton_products import TritonProducts
from steadydecay.polar.products import GEMM_PRODUCTS, Products

# Not what oneDNN supports: it also emulates bfloat16, at a tenth of the speed of float32.
HAS_FAST_BFLOAT16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
TRIED_DEVICES = ("cpu", "cuda")
# Below it the calls cost more than the products, and few singular values share the 8 bits of a bfloat16 product.
SMALLEST_BFLOAT16_SIDE = 128
# More steps bring singular values nearer to 1 than bfloat16 can hold them.
MOST_BFLOAT16_STEPS = 5
SMALLEST_GRAM_SIDE = 32
# Longer side over shorter. On squares the Gram forms take more work than the others; from here on they are faster.
SMALLEST_GRAM_ASPECT = {torch.float32: 2, torch.bfloat16: 3, torch.float16: 2}
ProductsName = Literal["torch", "triton"]
# The smallest side at which a published kernel like ours wins: 1.19 times at 2048, nothing at 1024, single matrices on
# an H800. Not measured with ours, so that Triton's products have to be asked for.
SMALLEST_TRITON_SIDE = 2048

logger = logging.getLogger(__name__)


def require_products_name(name: str) -> None:
    """Raise ValueError for a name that no products have."""
    if name not in get_args(ProductsName):
        raise ValueError(f"products is {name!r}; legal are {', '.join(map(repr, get_args(ProductsName)))}")


def chosen_dtype(matrices: Tensor, steps: int) -> torch.dtype:
    """Of the products."""
    if matrices.device.type not in TRIED_DEVICES or matrices.dtype == torch.float64:
        return matrices.dtype
    if matrices.is_cuda:
        # Eight times nearer to float64 than bfloat16, whose range a matrix of norm 1 does not need (docs/polar.md).
        return torch.float16
    is_coarse_enough = steps <= MOST_BFLOAT16_STEPS and matrices.dtype != torch.float16
    is_large = min(matrices.shape[-2:]) >= SMALLEST_BFLOAT16_SIDE
    return torch.bfloat16 if HAS_FAST_BFLOAT16 and is_coarse_enough and is_large else torch.float32


def chosen_form(matrices: Tensor, dtype: torch.dtype) -> str:
    """Name of the form in `steadydecay.polar.forms.FORMS`."""
    if matrices.device.type not in TRIED_DEVICES or dtype not in SMALLEST_GRAM_ASPECT:
        return "plain"
    rows, columns = matrices.shape[-2:]
    smaller, larger = min(rows, columns), max(rows, columns)
    if smaller < SMALLEST_GRAM_SIDE or larger < SMALLEST_GRAM_ASPECT[dtype] * smaller:
        return "fused"
    return f"gram_{str(dtype).removeprefix('torch.')}"


def is_one_by_one(matrices: Tensor, dtype: torch.dtype) -> bool:
    """Whether matrices are multiplied in this dtype alone, not as a stack; in a graph they are not."""
    is_on_cpu = matrices.device.type == "cpu" and not torch.compiler.is_compiling()
    return is_on_cpu and is_alone_faster(matrices.shape, dtype)


def products_for(x: Tensor, name: ProductsName) -> Products:
    """The products that are asked for by name; Triton's are for large half-precision matrices on CUDA alone.

    Where Triton's are asked for but cannot run, a log line says why, once for each reason. The first call on a device
    compiles and runs the kernel; make it before capturing a CUDA graph.

    Args:
        x: (batch, n, m), wide or tall, with entries of its storage or a view of it; not read.
        name: whose products.
    """
    if name == "torch":
        return GEMM_PRODUCTS
    is_half = x.dtype in (torch.float16, torch.bfloat16)
    if not x.is_cuda or not is_half or min(x.shape[-2:]) < SMALLEST_TRITON_SIDE:
        return GEMM_PRODUCTS
    obstacle = obstacle_to(x)
    if obstacle:
        _say_once(obstacle)
        return GEMM_PRODUCTS
    return TritonProducts()


@cache
def _say_once(obstacle: str) -> None:
    logger.warning("Symmetric products take twice the work they need: %s.", obstacle)
