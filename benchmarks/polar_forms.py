"""Print the table of docs/polar.md: time of each form of `polar_express` on the CPU, as ratios.

    OMP_NUM_THREADS=1 python benchmarks/polar_forms.py
    OMP_NUM_THREADS=2 python benchmarks/polar_forms.py --repetitions 9

All forms run in turn, on the same matrices, in each repetition. Cells: median time ÷ that of the plain float32 form, in
brackets the quartiles of that ratio over the repetitions. "÷ floor" is the form in use against the products of the form
with the least work at the rate of square products of 1024 rows in the same run and dtype.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from steadydecay.polar import coefficients, polar_express
from steadydecay.polar.choice import chosen_dtype, chosen_form
from steadydecay.polar.forms import FORMS
from steadydecay.unit_vectors import unit_vectors

SHAPES = [
    (1, 768, 768),
    (1, 768, 3072),
    (1, 3072, 768),
    (36, 128, 128),
    (12, 128, 512),
    (1, 384, 1536),
    (1, 512, 1024),
    (1, 384, 1152),
    (1, 1600, 1600),
]
LARGE = 1600 * 1600
COLUMNS = [
    ("fused", torch.float32),
    ("gram_float32", torch.float32),
    ("plain", torch.bfloat16),
    ("fused", torch.bfloat16),
    ("gram_bfloat16", torch.bfloat16),
]
STEPS = 5


def seconds(work: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def products_rate(dtype: torch.dtype, side: int = 1024) -> float:
    """FLOPs per second of a square product, the best of five."""
    matrix = torch.randn(side, side).to(dtype)
    return 2 * side**3 / min(seconds(lambda: matrix @ matrix) for _ in range(5))


def least_work(shape: tuple[int, int, int], dtype: torch.dtype) -> int:
    """FLOPs of the cheapest form at five steps in a dtype."""
    batch, rows, columns = shape
    n, m = min(rows, columns), max(rows, columns)
    plain = 20 * n * n * m + 10 * n**3
    gram = 12 * n * n * m + 22 * n**3 if dtype == torch.bfloat16 else 4 * n * n * m + 34 * n**3
    return batch * min(plain, gram)


def candidates(matrices: Tensor) -> dict[str, Callable[[], Tensor]]:
    unit = unit_vectors(matrices, dim=(-2, -1)).div_(1.01)
    polynomials = coefficients(STEPS)
    result: dict[str, Callable[[], Tensor]] = {"reference": lambda: FORMS["plain"](unit, polynomials)}
    for name, dtype in COLUMNS:
        x = unit.to(dtype)
        result[f"{name} {dtype}"] = lambda form=FORMS[name], x=x: form(x, polynomials)
    return result | {"polar_express": lambda: polar_express(matrices, STEPS)}


def row(shape: tuple[int, int, int], repetitions: int) -> str:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    works = candidates(matrices)
    times: dict[str, list[float]] = {name: [] for name in works}
    rates: list[float] = []
    dtype = chosen_dtype(matrices, STEPS)
    for _ in range(repetitions):
        rates.append(products_rate(dtype))
        for name, work in works.items():
            times[name].append(seconds(work))
    cells = [ratio(times[name], times["reference"]) for name in works if name != "reference"]
    floor = least_work(shape, dtype) / statistics.median(rates)
    to_floor = f"{statistics.median(times['polar_express']) / floor:.2f}"
    used = f"{chosen_form(matrices, dtype)}, {str(dtype).removeprefix('torch.')}"
    label = "×".join(map(str, shape))
    return f"| {' | '.join([label, *cells, to_floor, used])} |"


def ratio(times: list[float], reference: list[float]) -> str:
    ratios = [time / base for time, base in zip(times, reference, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return f"{statistics.median(times) / statistics.median(reference):.2f} ({low:.2f}–{high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Times of the forms of polar_express, as ratios.")
    parser.add_argument("--repetitions", type=int, default=9)
    repetitions = parser.parse_args().repetitions
    names = [f"{form.removesuffix('_float32').removesuffix('_bfloat16')} {str(dtype)[6:]}" for form, dtype in COLUMNS]
    header = ["matrices", *names, "`polar_express`", "÷ floor", "in use"]
    print(f"Threads: {torch.get_num_threads()}.\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    with torch.no_grad():
        for shape in SHAPES:
            count = max(3, repetitions // 3) if shape[1] * shape[2] >= LARGE else repetitions
            print(row(shape, count), flush=True)


if __name__ == "__main__":
    main()
