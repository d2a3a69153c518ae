"""Polar Express: one function over all forms, in the dtype and form that are fastest within their accuracy."""

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

    The result does not depend on the scale of a matrix, down to the smallest number of the dtype. Zero gives zero; NaN
    and infinity give NaN. A stack of matrices takes less time than one call for each matrix. No gradient flows through
    the result.

    Args:
        matrices: A tensor (..., n, m) with any leading dimensions. Dimensions may be empty. It is not written to.
        steps: The number of iterations, 1 or more. Five leave the singular values of a well-conditioned matrix within
            0.13 of 1.
        compute_dtype: The dtype of the products. The default on CUDA is float16, except for float64 matrices. On a CPU
            with fast bfloat16 products the default is bfloat16 for matrices of 128 or more rows and columns and five
            steps or fewer. Otherwise it is float32 for low precision and the dtype of `matrices` for the rest.
        products: "torch", or "triton" for a kernel of this package that halves the work of symmetric products on CUDA
            if both sides are 2048 or more. It is tested in Triton's interpreter and has not been timed on a GPU yet
            (docs/polar.md).

    Returns:
        A tensor (..., n, m) in the dtype of `matrices`.

    Raises:
        ValueError: `matrices` has fewer than two dimensions, `steps` is below 1, or `products` is unknown.
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
    """Apply `polar_express` to several tensors of one shape, dtype and device, and multiply the results by `scale`.

    The result has the shape (len(matrices), ..., n, m) and the dtype of the products. `steadydecay.polar.cost` says
    what it costs.
    """
    first = matrices[0]
    require_matrices(first)
    require_products_name(products)
    *polynomials, (a, b, c) = coefficients(steps)
    dtype = compute_dtype or chosen_dtype(first, steps)
    form = FORMS[chosen_form(first, dtype)]
    # Scaling the last polynomial takes no pass over memory.
    polynomials.append((scale * a, scale * b, scale * c))
    x = unit_stack(matrices, dtype)
    if is_one_by_one(first, dtype):
        for one in x:
            form(one, polynomials, SINGLE_PRODUCTS)
    else:
        form(x, polynomials, products_for(x, products))
    return x.view(len(matrices), *first.shape)
