"""Measure what share of a training step the optimizer takes, and how fast a model trains under three of them.

    python benchmarks/end_to_end.py mini           # writes benchmarks/results/end_to_end_mini.json
    python benchmarks/end_to_end.py 124m --rows 1  # a batch cut to one sequence
    python benchmarks/end_to_end.py s16 --rows 16 --device cuda
    python benchmarks/scaling_page.py              # docs/scaling.md

All step in turn in one process, on copies of the same model and the same batches, with and without `torch.compile`.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from image_transformer import ImageTransformer, random_crops
from scaling import RESULTS, script_circumstances, turns_of, written
from torch import Tensor, nn
from torch.optim import Optimizer

import steadydecay as sd
from steadydecay.bench.course import one_line
from steadydecay.bench.machine import Circumstances
from steadydecay.bench.peers import LR, STEPS, WEIGHT_DECAY
from steadydecay.bench.timing import seconds
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.precision import autocast
from steadydecay.recipes.recipe import Batch

BATCHES = 2
# 124m reads shards of GPT-2's tokens, so its embedding is theirs also where it is measured on bytes.
VOCABULARY = {"mini": 256, "124m": 50_304}
# As DeiT is trained (arXiv 2012.12877).
IMAGE_ROWS = 1024
ORTHOGONALISED = ("hidden", "conv")
MODELS = (*VOCABULARY, "s16")


@final
@dataclass(frozen=True)
class Task:
    """A model and what it is trained on. `full_rows` is the usual batch, of which the batches may be a part."""

    model: nn.Module
    batches: Sequence[Batch]
    full_rows: int
    item: str
    items: int
    data: str


@final
@dataclass(frozen=True)
class Row:
    """Seconds by repetition: of the whole training step, and of the optimizer in it."""

    optimizer: str
    is_compiled: bool
    step_times: list[float]
    optimizer_times: list[float]

    @property
    def step(self) -> float:
        return statistics.median(self.step_times)

    @property
    def share(self) -> float:
        pairs = zip(self.optimizer_times, self.step_times, strict=True)
        return statistics.median(own / whole for own, whole in pairs)


@final
@dataclass(frozen=True)
class Result(Circumstances):
    """One model on one device. `missing` says why a contestant could not take part."""

    model: str
    parameters: int
    rows_of_batch: int
    full_rows: int
    item: str
    items: int
    data: str
    rows: list[Row]
    missing: dict[str, str]


def task_of(model: str, rows: int | None) -> Task:
    torch.manual_seed(0)
    if model == "s16":
        batches = [random_crops(rows or IMAGE_ROWS, seed) for seed in range(BATCHES)]
        data = "random crops of matplotlib's sample photograph, random labels"
        return Task(ImageTransformer(), batches, IMAGE_ROWS, "images", rows or IMAGE_ROWS, data)
    full_rows = gpt_recipe(model, "scionc", {}).batch_size
    recipe = gpt_recipe(model, "scionc", {"batch_size": rows or full_rows})
    data = recipe.load_data()
    batches = [recipe.train_batch(data, step, 0, 0, 1) for step in range(BATCHES)]
    gpt = GPT(VOCABULARY[model], recipe.layers, recipe.heads, recipe.width)
    return Task(gpt, batches, full_rows, "tokens", recipe.batch_size * recipe.length, "bytes of the embedded text")


def matrices(weight: Tensor, norm: Any) -> list[Tensor]:
    """Views of those that ScionC gives an LMO each."""
    if norm == "spectral_conv":
        return [weight.flatten(1)]
    if isinstance(norm, Mapping) and "split_sizes" in norm:
        return list(weight.split(norm["split_sizes"]))
    return list(weight.unbind()) if weight.ndim == 3 else [weight]


@final
class Trainee:
    """A copy of a model under one optimizer."""

    def __init__(self, task: Task, make: Callable[["Trainee"], list[Optimizer]], is_compiled: bool, device: Any):
        self.device = device
        self.model = copy.deepcopy(task.model).to(device)
        self.batches = [tuple(part.to(device) for part in batch) for batch in task.batches]
        self.loss_of: Any = torch.compile(self.model) if is_compiled else self.model
        self.views: list[tuple[Tensor, Any, list[nn.Parameter]]] = []
        self.optimizers = make(self)
        self.optimizer_times: list[float] = []

    def step(self) -> float:
        return seconds(self._step, self.device)

    def _step(self) -> None:
        with autocast("auto", self.device):
            loss = self.loss_of(*self.batches[len(self.optimizer_times) % len(self.batches)])
        loss.backward()
        for weight, norm, views in self.views:
            assert weight.grad is not None
            for view, gradient in zip(views, matrices(weight.grad, norm), strict=True):
                view.grad = gradient
        self.optimizer_times.append(seconds(self._move, self.device))
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        self.model.zero_grad()

    def _move(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()


def adamw(trainee: Trainee) -> list[Optimizer]:
    return [torch.optim.AdamW(trainee.model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)]


def muon(trainee: Trainee) -> list[Optimizer]:
    """On the matrices that ScionC orthogonalises, each a parameter that shares the model's memory."""
    groups = sd.param_groups(trainee.model, "scion", lr=LR)
    of_matrices = [group for group in groups if group["role"] in ORTHOGONALISED]
    others = [group for group in groups if group["role"] not in ORTHOGONALISED]
    trainee.views = [
        (weight, group["norm"], [nn.Parameter(matrix) for matrix in matrices(weight.detach(), group["norm"])])
        for group in of_matrices
        for weight in group["params"]
    ]
    views = [view for *_, several in trainee.views for view in several]
    rest = [weight for group in others for weight in group["params"]]
    muon = torch.optim.Muon(views, lr=LR, weight_decay=WEIGHT_DECAY, ns_steps=STEPS)
    return [muon, torch.optim.AdamW(rest, lr=LR, weight_decay=WEIGHT_DECAY, fused=True)]


def scionc(trainee: Trainee) -> list[Optimizer]:
    groups = sd.param_groups(trainee.model, "scion", lr=LR, weight_decay=WEIGHT_DECAY)
    return [sd.ScionC(groups, lr=LR)]


OPTIMIZERS = {"torch AdamW, fused": adamw, "torch Muon + AdamW, fused": muon, "ScionC": scionc}


def measured(model: str, rows: int | None, with_compiled: bool, repetitions: int, device: torch.device) -> Result:
    task = task_of(model, rows)
    trainees: dict[str, Trainee] = {}
    missing: dict[str, str] = {}
    for is_compiled in (False, True) if with_compiled else (False,):
        for name, make in OPTIMIZERS.items():
            key = f"{name}, compiled" if is_compiled else name
            trainee = Trainee(task, make, is_compiled, device)
            # torch.compile needs a C++ compiler on a CPU and Triton on a GPU, and says so in errors of many types.
            try:
                trainee.step()
                trainees[key] = trainee
            except Exception as error:
                if not is_compiled:
                    raise
                missing[key] = one_line(error)
    turns = turns_of({key: trainee.step for key, trainee in trainees.items()}, repetitions)
    return Result(
        model,
        sum(weight.numel() for weight in task.model.parameters()),
        len(task.batches[0][0]),
        task.full_rows,
        task.item,
        task.items,
        task.data,
        [
            Row(
                key.removesuffix(", compiled"),
                key.endswith(", compiled"),
                [times[key] for times in turns],
                trainee.optimizer_times[-repetitions:],
            )
            for key, trainee in trainees.items()
        ],
        missing,
        **script_circumstances("end_to_end.py", device),
    )


def read_results(folder: Path = RESULTS) -> list[Result]:
    """In the order of `MODELS`."""
    every = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("end_to_end_*.json"))]
    results = [Result(**{**fields, "rows": [Row(**row) for row in fields["rows"]]}) for fields in every]
    return sorted(results, key=lambda result: MODELS.index(result.model))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--rows", type=int, help="sequences or images of a step; by default the usual batch")
    parser.add_argument("--eager-only", action="store_true", help="leave torch.compile out")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    result = measured(options.model, options.rows, not options.eager_only, options.repetitions, device)
    path = written(result, f"end_to_end_{options.model}", options.device)
    for row in result.rows:
        kind = "compiled" if row.is_compiled else "eager"
        print(f"{row.optimizer}, {kind}: {1e3 * row.step:.4g} ms, optimizer {row.share:.1%}")
    print(path, result.missing or "")


if __name__ == "__main__":
    main()
