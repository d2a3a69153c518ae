"""Print what a step of AdamC, Lion and SGDW costs beside torch's optimizers and pytorch_optimizer's Lion.

    python benchmarks/elementwise.py --set gpt-mini
    python benchmarks/elementwise.py --set gpt2-small --only lion sgdw --repetitions 5
    python benchmarks/elementwise.py --set small-tensors

The contestants of a comparison take turns in one process, and the first is the reference: "ratio" is the median over
repetitions of a step's time over the reference's in the same repetition. torch's fused SGD reads gradient, momentum and
weight and writes the last two, once: that is the traffic of Lion and SGDW too. "B/param" is what a step takes for
temporaries at most, per parameter.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from steadydecay import SGDW, AdamC, Lion
from steadydecay.bench.memory import allocations
from steadydecay.bench.shape_sets import SHAPE_SETS
from steadydecay.bench.timing import in_turn, seconds

SMALL_TENSORS = "small-tensors"
LR, WEIGHT_DECAY, MOMENTUM = 1e-4, 0.1, 0.9

Build = Callable[[list[nn.Parameter]], Optimizer]


def built(optimizer_class: Callable[..., Optimizer], **settings: object) -> Build:
    return partial(optimizer_class, lr=LR, **settings)


def lion_of_pytorch_optimizer() -> dict[str, Build]:
    if find_spec("pytorch_optimizer") is None:
        return {}
    from pytorch_optimizer import Lion as Peer  # pyright: ignore[reportMissingImports]

    return {"pytorch_optimizer Lion": built(Peer, weight_decay=WEIGHT_DECAY, weight_decouple=True)}


def adams(**mode: bool) -> dict[str, Build]:
    classes = {"torch AdamW": AdamW, "AdamC": AdamC}
    return {name: built(of, weight_decay=WEIGHT_DECAY, **mode) for name, of in classes.items()}


COMPARISONS: dict[str, dict[str, Build]] = {
    "adam-fused": adams(fused=True),
    "adam-foreach": adams(foreach=True),
    "adam-loop": adams(foreach=False),
    "lion": {
        "torch SGD, fused": built(SGD, momentum=MOMENTUM, fused=True),
        "Lion": built(Lion, weight_decay=WEIGHT_DECAY),
        **lion_of_pytorch_optimizer(),
    },
    "sgdw": {
        "torch SGD, fused": built(SGD, momentum=MOMENTUM, fused=True),
        "torch SGD, foreach": built(SGD, momentum=MOMENTUM, foreach=True),
        "SGDW": built(SGDW, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
        "SGDW, Nesterov": built(SGDW, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True),
    },
}


def shapes_of(name: str) -> list[tuple[int, ...]]:
    if name == SMALL_TENSORS:
        return [(64,)] * 10_000
    return [entry.shape for entry in SHAPE_SETS[name].entries()]


def optimizers(builds: dict[str, Build], shapes: list[tuple[int, ...]], device: torch.device) -> dict[str, Optimizer]:
    """Each on weights of its own, all with the same gradients."""
    gradients = [torch.randn(shape, device=device) * 0.01 for shape in shapes]
    made: dict[str, Optimizer] = {}
    for name, build in builds.items():
        weights = [nn.Parameter(torch.randn(shape, device=device)) for shape in shapes]
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        made[name] = build(weights)
    return made


def lines(comparison: str, options: argparse.Namespace) -> Iterator[str]:
    shapes, device = shapes_of(options.set), torch.device(options.device)
    made = optimizers(COMPARISONS[comparison], shapes, device)
    # The first step makes torch's state.
    for optimizer in made.values():
        optimizer.step()
    works = {name: partial(seconds, optimizer.step, device) for name, optimizer in made.items()}
    times = list(in_turn(works, options.repetitions))
    parameters = sum(torch.Size(shape).numel() for shape in shapes)
    reference = next(iter(made))
    for name, optimizer in made.items():
        median = 1e3 * statistics.median(turn[name] for turn in times)
        ratio = statistics.median(turn[name] / turn[reference] for turn in times)
        transient = allocations([optimizer.step], device)[0].peak / parameters
        yield f"| {comparison} | {name} | {median:.2f} | {ratio:.3f} | {transient:.2f} |"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=[*SHAPE_SETS, SMALL_TENSORS], default="gpt-mini")
    parser.add_argument("--only", choices=COMPARISONS, nargs="+", default=list(COMPARISONS))
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    print(f"{options.set}, {options.device}, {options.threads} thread(s), torch {torch.__version__}")
    print("| comparison | optimizer | ms a step | ratio | B/param |\n|---|---|---|---|---|")
    for comparison in options.only:
        for line in lines(comparison, options):
            print(line, flush=True)


if __name__ == "__main__":
    main()
