"""How long trials will take, from a few steps of one of them."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.recipes.precision import autocast
from steadydecay.recipes.recipe import Recipe

# A step of the paper's batch would take an hour on a laptop: so many examples tell what the others cost.
TIMED_EXAMPLES = 8
TIMED_STEPS = 3


def seconds_of_training(recipe: Recipe) -> float:
    """The seconds that a recipe's steps take on this machine, without evaluations, from the fastest of a few steps.

    The timed steps have few examples, so the answer is too large where a large batch is cheaper per example. Draws from
    torch's random numbers.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = min(recipe.batch_size, TIMED_EXAMPLES)
    timed = replace(recipe, batch_size=rows, accumulate=1)
    data = timed.load_data()
    model = timed.build_model(data).to(device)
    optimizer = OPTIMIZERS[timed.optimizer](model, timed)
    gradients, updates = [], []
    for step in range(TIMED_STEPS):
        began = time.perf_counter()
        batch = tuple(part.to(device) for part in timed.train_batch(data, step, 0, 0, 1))
        with autocast(timed.precision, device):
            loss = model(*timed.augmented(data, batch, step, 0, 0, 1))
        loss.backward()
        loss.item()
        gradients.append(time.perf_counter() - began)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        updates.append(time.perf_counter() - began - gradients[-1])
    return recipe.steps * (min(gradients) * recipe.batch_size / rows + min(updates))


def seconds_of_all(recipes: Sequence[Recipe], threads: int) -> float:
    """The seconds of trials one after the other on so many threads; one model of each shape is timed for all."""
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
