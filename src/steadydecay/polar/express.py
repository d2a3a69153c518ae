"""Polar Express: one function over all forms, in the dtype and the form that are fastest within their accuracy."""

from collections.abc import Sequence

import torch
from torch import Tensor

from steadydecay.polar.choice import chosen_dtype, chosen_form, is_one_by_one, products_for
from steadydecay.polar.coefficients import coefficients
from steadydecay.polar.cpu.single_products import SINGLE_PRODUCTS
from steadydecay.polar.forms import FORMS
from steadydecay.polar.matrices import require_matrices
from steadydecay.polar.unit_stack import unit_stack


def polar_express(matrices: Tensor, steps: int = 5, compute_dtype: torch.dtype | None = None) -> Tensor:
    """Approximate UVᵀ of each matrix, where USVᵀ is its singular value decomposition (arXiv 2505.16932).

    Scale-invariant down to the smallest number of the dtype; zero gives zero; NaN and infinity give NaN. Stacks of
    matrices take less time than one call for each. No gradient flows through it.

    Args:
        matrices: (..., n, m), any leading dimensions, any of them empty; not written to.
        steps: iterations, ≥ 1. Five leave singular values of a well-conditioned matrix within 0.13 of 1.
        compute_dtype: of the products. By default float16 on CUDA, but for float64 matrices. On a CPU with fast
            bfloat16 products it is bfloat16 for matrices of 128 or more rows and columns and five steps or fewer,
            float32 for other low precision, and else the dtype of `matrices`.

    Returns:
        (..., n, m) in the dtype of `matrices`.

    Raises:
        ValueError: fewer than two dimensions, or steps below 1.
    """
    return polar_express_of_each([matrices], steps, compute_dtype)[0].to(matrices.dtype)


@torch.no_grad()
def polar_express_of_each(
    matrices: Sequence[Tensor], steps: int = 5, compute_dtype: torch.dtype | None = None, scale: float = 1.0
) -> Tensor:
    """`polar_express` of several tensors of one shape, dtype and device, times `scale`: (len(matrices), ..., n, m).

    The result has the dtype of the products. What it takes: `steadydecay.polar.cost`.
    """
    first = matrices[0]
    require_matrices(first)
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
        form(x, polynomials, products_for(x))
    return x.view(len(matrices), *first.shape)
