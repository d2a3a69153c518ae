"""The same iteration x ← ax + b(xxᵀ)x + c(xxᵀ)²x in several orders of products, which differ in time and in rounding.

Each form moves a contiguous matrix (n, m) or a stack (batch, n, m) of norm 1 or less in place by the (a, b, c) of
every step, and returns it. Wide and tall matrices take the same time: a tall one is multiplied from the right, by the
m×m matrix xᵀx in place of xxᵀ.
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
    """An order of products."""

    def __call__(self, x: Tensor, steps: Sequence[Step], products: Products = ...) -> Tensor: ...


# Steps between two fresh Gram matrices: the fewest restarts with which singular values stay below 1.2 on every spectrum
# tried (docs/polar.md). In bfloat16 three steps on one matrix diverge, and of two orders of equal work (2, 2, 1) lifts
# singular values to 1.34 (1.23 with the safety below), (2, 1, 2) to 1.18; in float16 (2, 3) to 1.16, (3, 2) to 18.
SEGMENTS = {torch.float32: (5,), torch.bfloat16: (2, 1, 2), torch.float16: (2, 3)}
# Without it singular values that two bfloat16 steps bring past the edge of the interval diverge: up to 7.6 where one of
# 128 is 1 and the others 0.03. Half of it is enough on all of 1080 such matrices.
BFLOAT16_RESTART_SAFETY = 1.01


def plain(x: Tensor, steps: Sequence[Step], products: Products = GEMM_PRODUCTS) -> Tensor:
    """The step as it is written: the reference of every other form, by torch's products whatever is given."""
    wide = _wide(x)
    for a, b, c in steps:
        gram = wide @ wide.mT
        product = (b * gram + c * (gram @ gram)) @ wide
        wide.mul_(a).add_(product)
        # Before the next squares are made.
        del product
    return x


def fused(x: Tensor, steps: Sequence[Step], products: Products = GEMM_PRODUCTS) -> Tensor:
    """The plain form with the sums inside the products: no pass over memory but theirs."""
    for a, b, c in steps:
        # Squares have no names here, nor in `gram`, so that each is gone when the next is made.
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
    """Iterates on the square R = xxᵀ instead of x, and multiplies x once for each segment of steps.

    With P = aI + bR + cR² a step is x ← Px, hence R ← PRP, and a segment is x ← Qx with Q the product of its Ps. Q is
    kept as αI + V with α a number: on the diagonal of a bfloat16 matrix it would lose its digits.

    Args:
        x, steps: see the module.
        products: how to multiply.
        segments: steps from one fresh R to the next; they start over when `steps` has more.
        restart_safety: shrinks the argument of the first step after a segment of several, which may have overshot.
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
# n×n matrices that a form holds at one time beside each x.
SQUARES = {"plain": 4, "fused": 2, "gram_bfloat16": 3, "gram_float16": 4, "gram_float32": 4}


def _polynomial(r: Tensor, b: float, c: float, products: Products) -> Tensor:
    """bR + cR²."""
    return products.symmetric(r, r, r, b, c)


def _segment(r: Tensor, steps: Sequence[Step], products: Products) -> tuple[float, Tensor]:
    """α and V of αI + V, the product of the polynomials of these steps; R is a buffer, lost to the caller."""
    (a, b, c), *others = steps
    polynomial = _polynomial(r, b, c, products)
    scale, matrix = a, polynomial
    for count, (next_a, b, c) in enumerate(others, start=1):
        half = products.symmetric(r, polynomial, r, a, 1.0)
        products.symmetric(half, half, polynomial, a, 1.0, out=r)
        polynomial, a = products.symmetric(r, r, r, b, c, out=half), next_a
        # No step needs the last R.
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
