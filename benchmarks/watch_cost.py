"""Print what `sd.watch` costs, as shares of a training step of the GPT recipe.

    python benchmarks/watch_cost.py --size mini
    python benchmarks/watch_cost.py --size 124m --rows 1 --pairs 4

Steps that are measured and read alternate with steps that are not, on the same weights. Time is taken around the
watch's own hooks and its `metrics()`, because the difference of two steps is lost in the noise of a crowded machine.
`--rows 1` is one sequence a step: the recipe's batch of 256 makes a step longer, and every share smaller.
"""

import argparse
import statistics
import time
from typing import Any

import torch

from steadydecay.bench.product_times import synchronize
from steadydecay.monitor.watch import watch
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.gpt.recipe import SIZES, gpt_recipe
from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.recipes.precision import autocast

VOCABULARY = {"mini": 256, "small": 256, "124m": 50_304}
NEVER = 10**9


def hook_times(optimizer: torch.optim.Optimizer, times: list[float], device: torch.device) -> None:
    """Append the time before and after the step to `times`, at this place among the hooks."""

    def mark(*_: Any) -> None:
        synchronize(device)
        times.append(time.perf_counter())

    optimizer.register_step_pre_hook(mark)
    optimizer.register_step_post_hook(mark)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="mini")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="scionc")
    parser.add_argument("--rows", type=int, help="sequences of a step; by default the recipe's batch")
    parser.add_argument("--pairs", type=int, default=20, help="of steps, one measured and one not")
    parser.add_argument("--every", type=int, default=10, help="steps from one measurement to the next")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    recipe = gpt_recipe(options.size, options.optimizer, {})
    rows, vocabulary = options.rows or recipe.batch_size, VOCABULARY[options.size]
    torch.manual_seed(0)
    device: torch.device = options.device
    model = GPT(vocabulary, recipe.layers, recipe.heads, recipe.width).to(device)
    optimizer = OPTIMIZERS[options.optimizer](model, recipe)
    tokens = torch.randint(0, vocabulary, (2, rows, recipe.length), device=device)
    outside: list[float] = []
    inside: list[float] = []
    hook_times(optimizer, outside, device)
    handle = watch(optimizer, every=NEVER)
    hook_times(optimizer, inside, device)

    def seconds_of_step_and_watch(is_measured: bool) -> tuple[float, float]:
        outside.clear()
        inside.clear()
        if is_measured:
            handle.measure_next_step()
        synchronize(device)
        began = time.perf_counter()
        with autocast(recipe.precision, device):
            loss = model(*tokens)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        synchronize(device)
        before_reading = time.perf_counter()
        handle.metrics()
        ended = time.perf_counter()
        # Pre-hooks run in order: outside, watch, inside; and so do post-hooks.
        within = (inside[0] - outside[0]) + (inside[1] - outside[1]) + (ended - before_reading)
        return ended - began - within, within

    place = f"{options.threads} thread(s)" if device.type == "cpu" else torch.cuda.get_device_name(device)
    step, cold = seconds_of_step_and_watch(is_measured=True)
    print(f"{options.size}, {options.optimizer}, {rows} x {recipe.length} tokens a step, {place}")
    pairs = [(seconds_of_step_and_watch(True), seconds_of_step_and_watch(False)) for _ in range(options.pairs)]
    step = statistics.median(step for pair in pairs for step, _ in pair)
    measured, counted = (statistics.median(pair[index][1] for pair in pairs) for index in (0, 1))
    share = (measured + (options.every - 1) * counted) / (options.every * step)
    print(f"a measured step, read, costs {100 * measured / step:.2f} % of a step")
    print(f"a step between, {100 * counted / step:.3f} %")
    print(f"so measured and read every {options.every} steps: {100 * share:.2f} %")
    print(f"the first measurement, from random vectors, costs {cold / step:.1f} steps once")


if __name__ == "__main__":
    main()
