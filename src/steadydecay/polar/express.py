"""Polar Express: one function over all forms, in the dtype and the form that are fastest within their accuracy."""

from collections.abc import Sequence

import torch
from torch import Tensor

from steadydecay.polar.choice import (
    ProductsName,
    chosen_dtype,
    chosen_form,
    is_one_by_one,
    products_for,
    require_products_name,
)
from steadydecay.polar.coefficients import coefficients
from steadydecay.polar.cpu.single_products import SINGLE_PRODUCTS
from steadydecay.polar.forms import FORMS
from steadydecay.polar.matrices import require_matrices
from steadydecay.polar.unit_stack import unit_stack


def polar_express(
    matrices: Tensor, steps: int = 5, compute_dtype: torch.dtype | None = None, products: ProductsName = "torch"
) -> Tensor:
    """Approximate UVᵀ of each matrix, where USVᵀ is its singular value decomposition (arXiv 2505.16932).

    Scale-invariant down to the smallest number of the dtype; zero gives zero; NaN and infinity give NaN. Stacks of
    matrices take less time than one call for each. No gradient flows through it.

    Args:
        matrices: (..., n, m), any leading dimensions, any of them empty; not written to.
        steps: iterations, ≥ 1. Five leave singular values of a well-conditioned matrix within 0.13 of 1.
        compute_dtype: of the products. By default float16 on CUDA, but for float64 matrices. On a CPU with fast
            bfloat16 products it is bfloat16 for matrices of 128 or more rows and columns and five steps or fewer,
            float32 for other low precision, and else the dtype of `matrices`.
        products: "torch", or "triton" for a kernel of ours that does half the work of symmetric products on CUDA, where
            both sides are 2048 or more. It is tested in Triton's interpreter and was not
            timed on a GPU yet (docs/polar.md).

    Returns:
        (..., n, m) in the dtype of `matrices`.

    Raises:
        ValueError: fewer than two dimensions, steps below 1, or unknown products.
    """
    return polar_express_of_each([matrices], steps, compute_dtype, products=products)[0].to(matrices.dtype)


@torch.no_grad()
def polar_express_of_each(
    matrices: Sequence[Tensor],
    steps: int = 5,
    compute_dtype: torch.dtype | None = None,
    scale: float = 1.0,
    products: ProductsName = "torch",
) -> Tensor:
    """`polar_express` of several tensors of one shape, dtype and device, times `scale`: (len(matrices), ..., n, m).

    The result has the dtype of the products. What it takes: `steadydecay.polar.cost`.
    """
    first = matrices[0]
    require_matrices(first)
    require_products_name(products)
    *polynomials, (a, b, c) = coefficients(steps)
    dtype = compute_dtype or chosen_dtype(first, steps)
    form = FORMS[chosen_form(first, dtype)]
    # The last polynomial scales, at no pass over memory.
    polynomials.append((scale * a, scale * b, scale * c))
    x = unit_stack(matrices, dtype)
    if is_one_by_one(first, dtype):
        for one in x:
            form(one, polynomials, SINGLE_PRODUCTS)
    else:
        form(x, polynomials, products_for(x, products))
    return x.view(len(matrices), *first.shape)
