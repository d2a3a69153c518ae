"""Choose the dtype and form for `polar_express`, the fastest within their budget of accuracy, and its products."""

import logging
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

from steadydecay.polar.cpu.single_products import is_alone_faster
from steadydecay.polar.gpu.obstacles import obstacle_to
from steadydecay.polar.gpu.triton_products import TritonProducts
from steadydecay.polar.products import GEMM_PRODUCTS, Products

# oneDNN's own list of supported dtypes will not do: it emulates bfloat16 too, at a tenth of the speed of float32.
HAS_FAST_BFLOAT16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
TRIED_DEVICES = ("cpu", "cuda")
# In smaller matrices the calls cost more than the products, and few singular values share the 8 bits of a bfloat16
# product.
SMALLEST_BFLOAT16_SIDE = 128
# More steps bring singular values nearer to 1 than bfloat16 can represent.
MOST_BFLOAT16_STEPS = 5
SMALLEST_GRAM_SIDE = 32
# The ratio of the longer side to the shorter from which on the Gram forms are faster. On squares they take more work.
SMALLEST_GRAM_ASPECT = {torch.float32: 2, torch.bfloat16: 3, torch.float16: 2}
ProductsName = Literal["torch", "triton"]
# The smallest side at which a published kernel like ours wins: on an H800 with single matrices it is 1.19 times as fast
# at 2048 and no faster at 1024. Ours has not been measured, so that users have to ask for Triton's products.
SMALLEST_TRITON_SIDE = 2048

logger = logging.getLogger(__name__)


def require_products_name(name: str) -> None:
    """Raise ValueError unless `name` is one of `ProductsName`."""
    if name not in get_args(ProductsName):
        raise ValueError(f"products is {name!r}; it must be one of {', '.join(map(repr, get_args(ProductsName)))}")


def chosen_dtype(matrices: Tensor, steps: int) -> torch.dtype:
    """Return the dtype in which the products are computed."""
    if matrices.device.type not in TRIED_DEVICES or matrices.dtype == torch.float64:
        return matrices.dtype
    if matrices.is_cuda:
        # Eight times as accurate as bfloat16, whose range a matrix of norm 1 does not need (docs/polar.md).
        return torch.float16
    is_coarse_enough = steps <= MOST_BFLOAT16_STEPS and matrices.dtype != torch.float16
    is_large = min(matrices.shape[-2:]) >= SMALLEST_BFLOAT16_SIDE
    return torch.bfloat16 if HAS_FAST_BFLOAT16 and is_coarse_enough and is_large else torch.float32


def chosen_form(matrices: Tensor, dtype: torch.dtype) -> str:
    """Return the name of the form in `steadydecay.polar.forms.FORMS`."""
    if matrices.device.type not in TRIED_DEVICES or dtype not in SMALLEST_GRAM_ASPECT:
        return "plain"
    rows, columns = matrices.shape[-2:]
    smaller, larger = min(rows, columns), max(rows, columns)
    if smaller < SMALLEST_GRAM_SIDE or larger < SMALLEST_GRAM_ASPECT[dtype] * smaller:
        return "fused"
    return f"gram_{str(dtype).removeprefix('torch.')}"


def is_one_by_one(matrices: Tensor, dtype: torch.dtype) -> bool:
    """Return whether matrices are multiplied one by one in this dtype, not as a stack; in a graph they never are."""
    is_on_cpu = matrices.device.type == "cpu" and not torch.compiler.is_compiling()
    return is_on_cpu and is_alone_faster(matrices.shape, dtype)


def products_for(x: Tensor, name: ProductsName) -> Products:
    """Return the products of this name. Triton's are used for large half-precision matrices on CUDA alone.

    If Triton's products are requested but cannot run, a warning in the log says why, once for each reason. The first
    call on a device compiles and runs the kernel, so make it before capturing a CUDA graph.

    Args:
        x: A tensor (batch, n, m), wide or tall, with entries of its own or a view of others. Its values are not read.
        name: Which products to use, "torch" or "triton".
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
    logger.warning(
        "products='triton' is not used, and symmetric products take twice the work they need, because %s.", obstacle
    )
