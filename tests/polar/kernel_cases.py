"""What the Triton kernel must do, on the default device: each case returns facts about itself.

Run as a program, with TRITON_INTERPRET=1, by test_triton_kernels.py: prints the facts as JSON. On a GPU, imported.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from exact_stacks import LAYOUTS, filled, gaussian, integers, is_sentinel_around, mirrored, whole
from torch import Tensor
from triton.runtime.interpreter import GridExecutor

from steadydecay.polar import coefficients
from steadydecay.polar.gpu import triton_kernels
from steadydecay.polar.gpu.triton_kernels import symmetric_product
from steadydecay.polar.gpu.triton_products import TritonProducts
from steadydecay.polar.products import Products

Facts = Mapping[str, Any]
Case = Callable[[], Facts]
FLOAT16, BFLOAT16 = torch.float16, torch.bfloat16
SCALARS = [(1.0, 1.0), (-3.0, 0.5), (0.25, -2.0), (0.5, 0.0)]


def sizes(block: int) -> list[tuple[int, int, int]]:
    """(batch, n, k) below, at, above and far from multiples of the kernel's block."""
    return [
        (1, 1, 1),
        (2, 5, 3),
        (1, block, block),
        (3, block + 1, block),
        (2, block, 2 * block + 1),
        (1, 2 * block - 1, 1),
        (2, 2 * block + 1, 3 * block + 2),
        (1, 3 * block, 7),
        (1, 4 * block + 6, block + 4),
    ]


def table(block: int) -> dict[str, Case]:
    return {
        **size_cases(block),
        **layout_cases(block),
        **{f"symmetric with {scalars}": partial(scalar_case, block, scalars) for scalars in SCALARS},
        **far_cases(),
        "new out": partial(new_out_case, block),
        "beta zero": partial(beta_zero_case, block),
        "addend is out": partial(addend_is_out_case, block),
        "shared batch": partial(shared_batch_case, block),
        "nan": partial(nan_case, block),
        "infinity": infinity_case,
        "rounding": rounding_case,
        "empty": empty_case,
        "iteration": partial(iteration_case, block),
        "errors": error_case,
    }


def size_cases(block: int) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for dtype in (FLOAT16, BFLOAT16):
        for size in sizes(block):
            cases[f"gram {size} {dtype}"] = partial(gram_case, size, dtype, "contiguous", "contiguous")
            cases[f"symmetric {size} {dtype}"] = partial(symmetric_case, size, dtype, ["contiguous"] * 4, (-3.0, 0.5))
    return cases


def layout_cases(block: int) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    gram_size, symmetric_size = (2, 2 * block + 1, block + 2), (2, block + 3, 2 * block + 2)
    for layout in LAYOUTS:
        for out_layout in LAYOUTS:
            cases[f"gram of {layout} into {out_layout}"] = partial(gram_case, gram_size, FLOAT16, layout, out_layout)
        for place in range(4):
            layouts = [layout if place == index else "contiguous" for index in range(4)]
            cases[f"symmetric of {layouts}"] = partial(symmetric_case, symmetric_size, FLOAT16, layouts, (-3.0, 0.5))
    return cases


def facts(out: Tensor, reference: Tensor, operands: list[Tensor], before: list[Tensor]) -> dict[str, bool]:
    """Of a product into a view with sentinels around it."""
    if not torch.equal(reference.to(out.dtype).double(), reference):
        raise AssertionError("a case that is not exact tests nothing")
    return {
        "is exact": torch.equal(out.double(), reference),
        "is symmetric": torch.equal(out, out.mT),
        "leaves the rest": is_sentinel_around(out),
        "leaves its operands": all(torch.equal(whole(x), old) for x, old in zip(operands, before, strict=True)),
    }


def gram_case(size: tuple[int, int, int], dtype: torch.dtype, layout: str, out_layout: str) -> Facts:
    batch, n, k = size
    values = integers((batch, n, k), seed=n)
    x, out = filled(layout, values, dtype), LAYOUTS[out_layout]((batch, n, n), dtype)
    before = whole(x).clone()
    returned = symmetric_product(x, x.mT, out=out)
    return {**facts(out, values @ values.mT, [x], [before]), "returns out": returned is out}


def symmetric_case(
    size: tuple[int, int, int], dtype: torch.dtype, layouts: list[str], scalars: tuple[float, float]
) -> Facts:
    """With factors whose product is not symmetric, so that what is read or computed above the diagonal would show."""
    (batch, n, k), (beta, alpha) = size, scalars
    values = [integers((batch, n, n), 1), integers((batch, n, k), 2), integers((batch, k, n), 3)]
    addend, left, right = (filled(layout, value, dtype) for layout, value in zip(layouts, values, strict=False))
    before = [whole(operand).clone() for operand in (addend, left, right)]
    out = LAYOUTS[layouts[3]]((batch, n, n), dtype)
    returned = TritonProducts().symmetric(addend, left, right, beta, alpha, out=out)
    reference = mirrored(beta * values[0] + alpha * values[1] @ values[2])
    return {**facts(out, reference, [addend, left, right], before), "returns out": returned is out}


def scalar_case(block: int, scalars: tuple[float, float]) -> Facts:
    size, layouts = (2, block + 4, block + 4), ["padded", "transposed", "strided", "batch_last"]
    return symmetric_case(size, BFLOAT16, layouts, scalars)


def far_cases() -> dict[str, Case]:
    """Of each operand and dimension: in a few long strides and in many shorter ones, all of which fit into 32 bits."""
    strides = [(0, 2), (1, 8), (1, 16), (2, 8), (2, 16)]
    return {
        f"far {operand} in {dimension} after {steps}": partial(far_case, operand, dimension, steps)
        for operand in range(4)
        for dimension, steps in strides
    }


def far_case(operand: int, dimension: int, steps: int) -> Facts:
    """The last entries of one operand are 2³¹ from its first. The memory between them is never touched."""
    shape = (steps + 1, 2, 2) if dimension == 0 else (2, steps + 1, steps + 1)
    values = [integers(shape, seed) for seed in range(4)]
    tensors = [value.to(FLOAT16) for value in values]
    strides = [1000, 20, 1]
    strides[dimension] = 2**31 // steps
    tensors[operand] = torch.empty(2**31 + 4096, dtype=FLOAT16).as_strided(shape, strides).copy_(values[operand])
    addend, left, right, out = tensors
    symmetric_product(left, right, addend, -3.0, 0.5, out)
    reference = mirrored(-3 * values[0] + 0.5 * values[1] @ values[2])
    return {"is exact": torch.equal(out.double(), reference)}


def new_out_case(block: int) -> Facts:
    x = integers((2, block + 4, 5), 0)
    product = TritonProducts().gram(x.to(BFLOAT16))
    second = TritonProducts().symmetric(product, product, product, 0.5, 0.0)
    return {
        "is exact": torch.equal(product.double(), x @ x.mT) and torch.equal(second.double(), 0.5 * x @ x.mT),
        "keeps the dtype": product.dtype == second.dtype == BFLOAT16,
        "is contiguous": product.is_contiguous(),
    }


def beta_zero_case(block: int) -> Facts:
    x = integers((1, block + 4, 20), 0)
    poisoned = torch.full((1, block + 4, block + 4), float("nan"), dtype=FLOAT16)
    out = TritonProducts().symmetric(poisoned, x.to(FLOAT16), x.mT.to(FLOAT16), 0.0, 1.0)
    return {"is exact": torch.equal(out.double(), x @ x.mT)}


def addend_is_out_case(block: int) -> Facts:
    n = 2 * block + 8
    x, addend = integers((2, n, 5), 0), mirrored(integers((2, n, n), 1))
    out = addend.to(FLOAT16)
    TritonProducts().symmetric(out, x.to(FLOAT16), x.mT.to(FLOAT16), -3.0, 0.5, out=out)
    return {"is exact": torch.equal(out.double(), -3 * addend + 0.5 * x @ x.mT)}


def shared_batch_case(block: int) -> Facts:
    """One matrix read by the whole stack: a stride of zero."""
    x = integers((1, block + 4, 5), 0)
    out = TritonProducts().gram(x.to(FLOAT16).expand(3, -1, -1))
    return {"is exact": torch.equal(out.double(), (x @ x.mT).expand(3, -1, -1))}


def nan_case(block: int) -> Facts:
    """In the last row and column, where the next in memory is another matrix."""
    n = 2 * block + 1
    x = gaussian((3, n, block + 2), 0).to(FLOAT16)
    clean = TritonProducts().gram(x)
    x[1, -1, -1] = float("nan")
    out = TritonProducts().gram(x)
    expected = torch.zeros((n, n), dtype=torch.bool)
    expected[-1], expected[:, -1] = True, True
    return {
        "others keep their bits": torch.equal(out[0], clean[0]) and torch.equal(out[2], clean[2]),
        "is in its row and column": torch.equal(out[1].isnan(), expected),
        "the rest keeps its bits": torch.equal(out[1, :-1, :-1], clean[1, :-1, :-1]),
    }


def infinity_case() -> Facts:
    """What overflows float16 is infinite, not wrapped."""
    return {"is infinite": bool(TritonProducts().gram(torch.full((1, 4, 4), 300.0, dtype=FLOAT16)).isinf().all())}


def rounding_case() -> Facts:
    """Distance to float64 in units of the last place: sums in half precision would be dozens away."""
    result = {}
    for dtype in (FLOAT16, BFLOAT16):
        x = gaussian((1, 40, 2000), 0).to(dtype)
        reference = x.double() @ x.double().mT
        error = (TritonProducts().gram(x).double() - reference).abs() / reference.abs().clamp(min=1)
        result[str(dtype)] = float(error.max()) / torch.finfo(dtype).eps
    return result


def empty_case() -> Facts:
    grams = [TritonProducts().gram(torch.empty(shape, dtype=FLOAT16)) for shape in ((0, 3, 4), (2, 0, 4), (2, 3, 0))]
    shapes = [tuple(gram.shape) for gram in grams]
    return {"has its shape": shapes == [(0, 3, 3), (2, 0, 0), (2, 3, 3)], "is zero": not grams[2].any()}


def iteration(products: Products, x: Tensor) -> Tensor:
    """Polar Express of a copy: two steps on one Gram matrix, and three with a fresh one each."""
    (a1, b1, c1), (a2, b2, c2), *others = coefficients(5)
    x, gram = x.clone(), products.gram(x)
    first = products.symmetric(gram, gram, gram, b1, c1)
    half = products.symmetric(gram, first, gram, a1, 1.0)
    moved = products.symmetric(half, half, first, a1, 1.0)
    second = products.symmetric(moved, moved, moved, b2, c2)
    products.transform_(x, a1, first)
    products.transform_(x, a2, second)
    for a, b, c in others:
        gram = products.gram(x)
        products.transform_(x, a, products.symmetric(gram, gram, gram, b, c))
    return x


def iteration_case(block: int) -> Facts:
    """Relative distance of the iteration in float16 to the plain one in float64, of wide matrices and a tall view."""
    result = {}
    for name, shape in {"wide": (2, 2 * block + 1, 5 * block), "tall": (2, 5 * block, 2 * block + 1)}.items():
        x = gaussian(shape, 0)
        x = x.mT if name == "tall" else x
        x = x / torch.linalg.matrix_norm(x)[:, None, None] / 1.01
        moved, reference = iteration(TritonProducts(), x.to(FLOAT16)).double(), x
        for a, b, c in coefficients(5):
            gram = reference @ reference.mT
            reference = a * reference + (b * gram + c * gram @ gram) @ reference
        result[name] = float((moved - reference).norm() / reference.norm())
    return result


def error_case() -> Facts:
    x, square = torch.ones((2, 3, 4), dtype=FLOAT16), torch.ones((2, 3, 3), dtype=FLOAT16)
    calls: dict[str, Callable[[], Any]] = {
        "float32": lambda: symmetric_product(x.float(), x.mT.float()),
        "dtypes": lambda: symmetric_product(x, x.mT.bfloat16()),
        "right": lambda: symmetric_product(x, x),
        "addend": lambda: symmetric_product(x, x.mT, x, beta=1.0),
        "out": lambda: symmetric_product(x, x.mT, out=square[:1]),
        "out dtype": lambda: symmetric_product(x, x.mT, out=square.bfloat16()),
        "device": lambda: symmetric_product(x, x.mT, square.to("meta"), beta=1.0),
        "out is left": lambda: symmetric_product(square, square, out=square),
        "matrix": lambda: symmetric_product(x[0], x[0].mT),
    }
    return {name: message_of(call) for name, call in calls.items()} | {"unwritten": str(bool((square == 1).all()))}


def message_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return "no error"


def interpret_in_place() -> None:
    """The interpreter copies whole storages back onto themselves, also those of which a case uses a few entries."""
    setattr(GridExecutor, "_restore_args_dev", lambda *_: None)  # noqa: B010


if __name__ == "__main__":
    if not triton_kernels.IS_INTERPRETED:
        raise SystemExit("set TRITON_INTERPRET=1")
    interpret_in_place()
    print(json.dumps({name: case() for name, case in table(block=16).items()}))
