"""Estimate how long trials will take from a few steps of one of them."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.recipes.precision import autocast
from steadydecay.recipes.recipe import Recipe

# A step of the paper's batch would take an hour on a laptop, but this many examples reveal the cost of the others.
TIMED_EXAMPLES = 8
# If a step of one example takes longer than this, no other step is timed.
LONG_SECONDS = 2.0


def seconds_of_training(recipe: Recipe) -> float:
    """Estimate the seconds that a recipe's steps take on this machine, without evaluations, from a few small steps.

    The timed steps have few examples, so the estimate is too large if a large batch is cheaper per example. This
    function draws from torch's random numbers.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = recipe.load_data()
    model = recipe.build_model(data).to(device)
    optimizer = OPTIMIZERS[recipe.optimizer](model, recipe)
    few = min(recipe.batch_size, TIMED_EXAMPLES)
    seconds = 0.0
    # The first step warms up, and the last one counts.
    for rows in (1, few, few):
        timed = replace(recipe, batch_size=rows, accumulate=1)
        gradient, update = _seconds_of_step(timed, data, model, optimizer, device)
        seconds = recipe.steps * (gradient * recipe.batch_size / rows + update)
        if gradient + update > LONG_SECONDS:
            break
    return seconds


def _seconds_of_step(
    recipe: Recipe, data: Any, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[float, float]:
    """Return the seconds of the gradient and of the update."""
    began = time.perf_counter()
    batch = tuple(part.to(device) for part in recipe.train_batch(data, 0, 0, 0, 1))
    with autocast(recipe.precision, device):
        loss = model(*recipe.augmented(data, batch, 0, 0, 0, 1))
    loss.backward()
    _finish(device)
    between = time.perf_counter()
    optimizer.step()
    optimizer.zero_grad()
    _finish(device)
    return between - began, time.perf_counter() - between


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of_all(recipes: Sequence[Recipe], threads: int) -> float:
    """Estimate the seconds of consecutive trials with this number of threads, timing one model of each shape."""
    before, per_example = torch.get_num_threads(), dict[tuple[Any, ...], float]()
    torch.set_num_threads(threads)
    try:
        for recipe in recipes:
            if _shape(recipe) not in per_example:
                per_example[_shape(recipe)] = seconds_of_training(recipe) / _examples(recipe)
    finally:
        torch.set_num_threads(before)
    return sum(per_example[_shape(recipe)] * _examples(recipe) for recipe in recipes)


def _shape(recipe: Recipe) -> tuple[Any, ...]:
    return tuple(getattr(recipe, name) for name in recipe.COUNTS)


def _examples(recipe: Recipe) -> int:
    return recipe.steps * recipe.batch_size
