"""Polar Express: one function over all forms, in the dtype and the form that are fastest within their accuracy."""

import math

import torch
from torch import Tensor

from steadydecay.polar.choice import chosen_dtype, chosen_form
from steadydecay.polar.coefficients import SAFETY_FACTOR, coefficients
from steadydecay.polar.forms import FORMS
from steadydecay.polar.shapes import require_matrices
from steadydecay.unit_vectors import unit_vectors


@torch.no_grad()
def polar_express(matrices: Tensor, steps: int = 5, compute_dtype: torch.dtype | None = None) -> Tensor:
    """Approximate UVᵀ of each matrix, where USVᵀ is its singular value decomposition (arXiv 2505.16932).

    Scale-invariant down to the smallest number of the dtype; zero gives zero; NaN and infinity give NaN. Stacks of
    matrices take less time than one call for each. No gradient flows through it.

    Args:
        matrices: (..., n, m), any leading dimensions, any of them empty; not written to.
        steps: iterations, ≥ 1. Five leave singular values of a well-conditioned matrix within 0.13 of 1.
        compute_dtype: of the products. By default bfloat16 on CUDA. On a CPU with fast bfloat16 products it is bfloat16
            for float32 matrices of 128 or more rows and columns and five steps or fewer, float32 for other low
            precision, and else the dtype of `matrices`.

    Returns:
        (..., n, m) in the dtype of `matrices`.

    Raises:
        ValueError: fewer than two dimensions, or steps below 1.
    """
    require_matrices(matrices)
    polynomials = coefficients(steps)
    dtype = compute_dtype or chosen_dtype(matrices, steps)
    form = FORMS[chosen_form(matrices, dtype)]
    stack = matrices.reshape(math.prod(matrices.shape[:-2]), *matrices.shape[-2:])
    x = unit_vectors(stack, dim=(-2, -1)).div_(SAFETY_FACTOR).to(dtype).contiguous()
    return form(x, polynomials).to(matrices.dtype).reshape(matrices.shape)
