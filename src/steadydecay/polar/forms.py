"""The same iteration x ← ax + b(xxᵀ)x + c(xxᵀ)²x with its products in several orders, which differ in speed and
rounding.

Each form moves a contiguous matrix (n, m), or a stack (batch, n, m), of norm 1 or less in place by the coefficients (a,
b, c) of every step, and returns it. Wide and tall matrices take the same time: a tall one is multiplied from the right
by the m×m matrix xᵀx instead of xxᵀ.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from typing import Protocol

import torch
from torch import Tensor

from steadydecay.polar.products import GEMM_PRODUCTS, Products, is_tall

Step = tuple[float, float, float]


class Form(Protocol):
    """An order in which the products of the iteration are computed."""

    def __call__(self, x: Tensor, steps: Sequence[Step], products: Products = ...) -> Tensor: ...


# The number of steps between two fresh Gram matrices, with the fewest restarts for which singular values stay below 1.2
# on every spectrum tried (docs/polar.md). In bfloat16 three steps on one Gram matrix diverge. Of two orders of equal
# work, (2, 2, 1) lifts singular values to 1.34 (1.23 with the safety below) and (2, 1, 2) to 1.18. In float16, (2, 3)
# lifts them to 1.16 and (3, 2) to 18.
SEGMENTS = {torch.float32: (5,), torch.bfloat16: (2, 1, 2), torch.float16: (2, 3)}
# Without this safety, singular values that two bfloat16 steps bring past the edge of the interval diverge: they reach
# 7.6 if one of 128 is 1 and the others are 0.03. Half of it suffices on all of 1080 such matrices.
BFLOAT16_RESTART_SAFETY = 1.01


def plain(x: Tensor, steps: Sequence[Step], products: Products = GEMM_PRODUCTS) -> Tensor:
    """Compute the step as it is written, always by torch's products. Every other form is compared with this one."""
    wide = _wide(x)
    for a, b, c in steps:
        gram = wide @ wide.mT
        product = (b * gram + c * (gram @ gram)) @ wide
        wide.mul_(a).add_(product)
        # Free them before the next squares are made.
        del product
    return x


def fused(x: Tensor, steps: Sequence[Step], products: Products = GEMM_PRODUCTS) -> Tensor:
    """Compute the plain form with its sums inside the products, so that no other pass over memory is needed."""
    for a, b, c in steps:
        # Squares have no names here, nor in `gram`, so that each is freed before the next is made.
        products.transform_(x, a, _polynomial(products.gram(_wide(x)), b, c, products))
    return x


def gram(
    x: Tensor,
    steps: Sequence[Step],
    products: Products = GEMM_PRODUCTS,
    *,
    segments: Sequence[int],
    restart_safety: float = 1.0,
) -> Tensor:
    """Iterate on the square R = xxᵀ instead of x, and multiply x once for each segment of steps.

    With P = aI + bR + cR² a step is x ← Px, hence R ← PRP, and a segment is x ← Qx, where Q is the product of its Ps. Q
    is kept as αI + V with a number α, because it would lose its digits on the diagonal of a bfloat16 matrix.

    Args:
        x, steps: As described at the top of the module.
        products: How to multiply.
        segments: The number of steps from one fresh R to the next. They repeat if `steps` has more.
        restart_safety: A divisor for the argument of the first step after a segment of several, which may have
            overshot.
    """
    safety = 1.0
    for segment in _segments(steps, segments):
        (a, b, c), *others = segment
        first = (a / safety, b / safety**3, c / safety**5)
        products.transform_(x, *_segment(products.gram(_wide(x)), [first, *others], products))
        safety = restart_safety if others else 1.0
    return x


FORMS: dict[str, Form] = {
    "plain": plain,
    "fused": fused,
    "gram_bfloat16": partial(gram, segments=SEGMENTS[torch.bfloat16], restart_safety=BFLOAT16_RESTART_SAFETY),
    "gram_float16": partial(gram, segments=SEGMENTS[torch.float16]),
    "gram_float32": partial(gram, segments=SEGMENTS[torch.float32]),
}
# The number of n×n matrices that each form holds at the same time beside each x.
SQUARES = {"plain": 4, "fused": 2, "gram_bfloat16": 3, "gram_float16": 4, "gram_float32": 4}


def _polynomial(r: Tensor, b: float, c: float, products: Products) -> Tensor:
    """Return bR + cR²."""
    return products.symmetric(r, r, r, b, c)


def _segment(r: Tensor, steps: Sequence[Step], products: Products) -> tuple[float, Tensor]:
    """Return α and V of αI + V, the product of the polynomials of these steps. R is overwritten."""
    (a, b, c), *others = steps
    polynomial = _polynomial(r, b, c, products)
    scale, matrix = a, polynomial
    for count, (next_a, b, c) in enumerate(others, start=1):
        half = products.symmetric(r, polynomial, r, a, 1.0)
        products.symmetric(half, half, polynomial, a, 1.0, out=r)
        polynomial, a = products.symmetric(r, r, r, b, c, out=half), next_a
        # The last R is not needed by any step.
        room = r if count == len(others) else None
        matrix = products.symmetric(matrix, polynomial, matrix, a, 1.0, out=room).add_(polynomial, alpha=scale)
        scale *= a
    return scale, matrix


def _segments(steps: Sequence[Step], lengths: Sequence[int]) -> Iterator[Sequence[Step]]:
    remaining = iter(steps)
    for length in cycle(lengths):
        segment = tuple(islice(remaining, length))
        if not segment:
            return
        yield segment


def _wide(x: Tensor) -> Tensor:
    return x.mT if is_tall(x) else x
