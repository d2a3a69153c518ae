"""The first estimate of a sweep's time."""

from pathlib import Path

import pytest
import torch

from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.recipe import Recipe
from steadydecay.sweeps import first_estimate
from steadydecay.sweeps.first_estimate import seconds_of_all, seconds_of_training

TINY = {"layers": 1, "width": 32, "heads": 1, "length": 16, "batch_size": 4, "precision": "float32"}
pytestmark = pytest.mark.usefixtures("one_cpu_thread")


def test_it_is_the_time_of_a_step_for_each_step(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that each look moves on by a second, a pass takes one, and an update one."""
    seconds = iter(range(1000))
    monkeypatch.setattr(first_estimate.time, "perf_counter", lambda: float(next(seconds)))
    recipe = gpt_recipe("mini", "scionc", {"data": str(text), "steps": 10, **TINY})
    assert seconds_of_training(recipe) == 10 * (1 + 1)
    large = gpt_recipe("mini", "scionc", {"data": str(text), "steps": 10, **TINY, "batch_size": 64})
    assert seconds_of_training(large) == 10 * (64 / 8 + 1)
    slow = iter(range(0, 9, 3))
    monkeypatch.setattr(first_estimate.time, "perf_counter", lambda: float(next(slow)))
    assert seconds_of_training(large) == 10 * (64 * 3 + 3), "after one slow example, no other is timed"


def test_each_shape_of_model_is_timed_once_and_the_threads_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[tuple[Recipe, int]] = []

    def one_second_per_example(recipe: Recipe) -> float:
        timed.append((recipe, torch.get_num_threads()))
        return float(recipe.steps * recipe.batch_size)

    monkeypatch.setattr(first_estimate, "seconds_of_training", one_second_per_example)
    shapes = ({"lr": 0.1}, {"lr": 0.2, "steps": 20}, {"layers": 2})
    recipes = [gpt_recipe("mini", "scionc", {"steps": 10, **TINY, **given}) for given in shapes]
    assert seconds_of_all(recipes, threads=2) == 4 * (10 + 20 + 10)
    assert timed == [(recipes[0], 2), (recipes[2], 2)]
    assert torch.get_num_threads() == 1
    assert seconds_of_all([], threads=2) == 0
