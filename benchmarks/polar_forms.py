"""Print the table of docs/polar.md: time of each form of the Polar Express on the CPU, as ratios.

    OMP_NUM_THREADS=2 python benchmarks/polar_forms.py    # and with 1, which each lane of a step has

All forms run in turn, on the same matrices, in each repetition. Cells: median over the repetitions of time ÷ that of
the plain float32 form. "÷ floor" is the form in use, with the norms and conversions before and after it, against its
own products, all halves counted, at the best rate of square products in the same run.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from steadydecay.bench.product_times import products_rate
from steadydecay.bench.timing import in_turn, seconds
from steadydecay.bench.work import PLAIN, SEGMENTS, polar_work
from steadydecay.polar import coefficients, polar_express
from steadydecay.polar.choice import HAS_FAST_BFLOAT16, chosen_dtype, chosen_form
from steadydecay.polar.cpu.single_products import SINGLE_PRODUCTS
from steadydecay.polar.forms import FORMS
from steadydecay.polar.products import GEMM_PRODUCTS, Products
from steadydecay.polar.unit_stack import unit_stack

SHAPES = [
    (24, 128, 128),
    (12, 128, 512),
    (3, 384, 384),
    (1, 384, 1536),
    (1, 1536, 384),
    (1, 512, 1024),
    (2, 768, 768),
    (1, 768, 3072),
    (1, 3072, 768),
    (1, 1600, 1600),
]
CPU = torch.device("cpu")
PRODUCTS: dict[str, Products] = {"": GEMM_PRODUCTS, ", one by one": SINGLE_PRODUCTS}
COLUMNS = [("fused", torch.float32), ("gram_float32", torch.float32)]
BFLOAT16_COLUMNS = [("plain", torch.bfloat16), ("fused", torch.bfloat16), ("gram_bfloat16", torch.bfloat16)]
REFERENCE, IN_USE = "plain float32", "in use"


def timed_form(form: str, products: Products, x: Tensor) -> float:
    # Outside of what is timed: a form uses its argument as a buffer.
    argument = x.clone()
    stacks = [argument] if products is GEMM_PRODUCTS else list(argument)

    def work() -> None:
        for stack in stacks:
            FORMS[form](stack, coefficients(5), products)

    return seconds(work, CPU)


def works_on(matrices: Tensor) -> dict[str, Callable[[], float]]:
    works = {REFERENCE: partial(timed_form, "plain", GEMM_PRODUCTS, unit_stack([matrices], torch.float32))}
    for form, dtype in COLUMNS + (BFLOAT16_COLUMNS if HAS_FAST_BFLOAT16 else []):
        x = unit_stack([matrices], dtype)
        for suffix, products in list(PRODUCTS.items())[: 1 if form == "plain" else 2]:
            name = f"{form.partition('_')[0]} {str(dtype).removeprefix('torch.')}{suffix}"
            works[name] = partial(timed_form, form, products, x)

    def in_use() -> None:
        polar_express(matrices)

    return works | {IN_USE: partial(seconds, in_use, CPU)}


def row(shape: tuple[int, int, int], repetitions: int) -> dict[str, str]:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    dtype, rates = chosen_dtype(matrices, 5), []
    form = chosen_form(matrices, dtype)
    taken = []
    for times in in_turn(works_on(matrices), repetitions + 1):
        taken.append(times)
        rates.append(products_rate(dtype, CPU))
    taken = taken[1:]
    ratios = {name: statistics.median(times[name] / times[REFERENCE] for times in taken) for name in taken[0]}
    segments = SEGMENTS[dtype] if form.startswith("gram") else PLAIN
    floor = shape[0] * polar_work(shape[1:], segments) / max(rates)
    cells = {name: f"{ratio:.2f}" for name, ratio in ratios.items() if name != REFERENCE}
    to_floor = statistics.median(times[IN_USE] for times in taken) / floor
    return cells | {"÷ floor": f"{to_floor:.2f}", "form": f"{form}, {str(dtype).removeprefix('torch.')}"}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description="Times of the forms of the Polar Express, as ratios.")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    print(f"Threads: {torch.get_num_threads()}; fast bfloat16: {HAS_FAST_BFLOAT16}.\n")
    for index, shape in enumerate(SHAPES):
        cells = row(shape, options.repetitions)
        if index == 0:
            print(f"| matrices | {' | '.join(cells)} |\n|{'---|' * (len(cells) + 1)}")
        print(f"| {'×'.join(map(str, shape))} | {' | '.join(cells.values())} |", flush=True)


if __name__ == "__main__":
    main()
