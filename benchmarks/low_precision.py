"""Print the table of docs/low_precision.md: weight norms of bfloat16 runs beside float32, bytes and time.

    python benchmarks/low_precision.py

One vector of 4096 weights under Scion (Bias norm, momentum 0.9) with decay 2⁻¹² at the peak lr, from the steady norm
on, with the same gradients for every precision. About a minute on one core.
"""

import math
import statistics
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from steadydecay.optim.scion import Scion
from steadydecay.schedules.shapes import SHAPES
from steadydecay.tensors.low_precision import LOW_PRECISION

STEPS, LR, MOMENTUM, DECAY = 10_000, 0.01, 0.9, 2.0**-12
WIDTH, TIMED_WIDTH, TIMED_STEPS = 4096, 2**17, 200
STEADY_RMS = math.sqrt((1 + MOMENTUM) / (1 - MOMENTUM) * LR**2 / (2 * DECAY))
# schedule of the lr, decay rule, with updates
CASES = [
    ("constant", "constant", False),
    ("constant", "constant", True),
    ("cosine", "constant", False),
    ("cosine", "constant", True),
    ("cosine", "corrected", False),
    ("cosine", "corrected", True),
]


def optimizer_of(width: int, dtype: torch.dtype, mode: str, rule: str = "constant") -> Scion:
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter((torch.randn(width, generator=generator) * STEADY_RMS).to(dtype))
    settings = {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY / LR, "decay": rule}
    return Scion([weight], norm="bias", low_precision=mode, **settings)


def weight_of(optimizer: Scion) -> Tensor:
    return optimizer.param_groups[0]["params"][0]


def norms(optimizer: Scion, schedule: str, has_updates: bool) -> Iterator[float]:
    """Norm of the weight against its start, at ten times of the run."""
    weight, generator = weight_of(optimizer), torch.Generator().manual_seed(1)
    start = weight.detach().float().norm().item()
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = LR * SHAPES[schedule](step, STEPS, 0)
        gradient = torch.randn(weight.shape, generator=generator) if has_updates else torch.zeros(weight.shape)
        weight.grad = gradient.to(weight.dtype)
        optimizer.step()
        if (step + 1) % (STEPS // 10) == 0:
            yield weight.detach().float().norm().item() / start


def print_norms() -> None:
    print(f"| lr | decay | updates | float32 ends at | {' | '.join(f'bfloat16 {mode}' for mode in LOW_PRECISION)} |")
    print("|---|---|---|---" + "|---" * len(LOW_PRECISION) + "|")
    for schedule, rule, has_updates in CASES:
        reference = list(norms(optimizer_of(WIDTH, torch.float32, "none", rule), schedule, has_updates))
        cells = [schedule, rule, "yes" if has_updates else "no", f"{reference[-1]:.4f}"]
        for mode in LOW_PRECISION:
            run = list(norms(optimizer_of(WIDTH, torch.bfloat16, mode, rule), schedule, has_updates))
            farthest = max(abs(a / b - 1) for a, b in zip(run, reference, strict=True))
            cells.append(f"{run[-1]:.4f} ({100 * farthest:.2f} %)")
        print("| " + " | ".join(cells) + " |", flush=True)


def print_costs() -> None:
    """State beyond momentum, and the time of one step of a large vector."""
    print("| weights | state, bytes/weight | ns/weight and step, eager |\n|---|---|---|")
    precisions = [(torch.bfloat16, mode) for mode in LOW_PRECISION]
    for dtype, mode in [(torch.float32, "none"), *precisions]:
        optimizer = optimizer_of(TIMED_WIDTH, dtype, mode)
        weight = weight_of(optimizer)
        weight.grad = torch.randn(weight.shape).to(dtype)
        optimizer.step()
        times = []
        for _ in range(TIMED_STEPS):
            began = time.perf_counter()
            optimizer.step()
            times.append(time.perf_counter() - began)
        size = sum(value.nbytes for key, value in optimizer.state[weight].items() if key != "momentum") / weight.numel()
        nanoseconds = 1e9 * statistics.median(times) / weight.numel()
        print(f"| {str(dtype).removeprefix('torch.')} {mode} | {size:g} | {nanoseconds:.1f} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print_norms()
    print()
    print_costs()
