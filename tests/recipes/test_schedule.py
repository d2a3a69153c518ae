"""What moves in a run: the learning rate alone, or S with it; saved, resumed, refused where it cannot be."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from steadydecay.groups.settings import decay_of
from steadydecay.recipes.gpt.model import GPT
from steadydecay.recipes.gpt.recipe import GPTRecipe, gpt_recipe
from steadydecay.recipes.optimizers import OPTIMIZERS
from steadydecay.recipes.schedule import RunSchedule
from steadydecay.schedules.shapes import cosine
from steadydecay.theory.steady_state import effective_lr

SETTINGS: dict[str, Any] = {"lr": 0.25, "output_lr": 0.5, "decay_per_step": 0.03125, "momentum": 0.5, "steps": 8}


def built(name: str = "scionc_cosine", **changes: Any) -> tuple[GPTRecipe, torch.optim.Optimizer, RunSchedule]:
    recipe = replace(gpt_recipe("mini", name, {}), **(SETTINGS | changes))
    optimizer = OPTIMIZERS[name](GPT(17, layers=1, heads=1, width=8), recipe)
    return recipe, optimizer, RunSchedule(optimizer, recipe)


def hidden(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return next(group for group in optimizer.param_groups if group["role"] == "hidden")


def moved(optimizer: torch.optim.Optimizer, schedule: RunSchedule) -> None:
    optimizer.step()
    schedule.step()


def test_lr_and_s_fall_on_cosines_of_their_own_and_the_decay_follows_both() -> None:
    recipe, optimizer, schedule = built()
    start = effective_lr(0.25, 0.5) ** 2 / (2 * 0.03125)
    for step in range(8):
        share, group = cosine(step, 8), hidden(optimizer)
        assert schedule.last_epoch == step
        assert group["lr"] == pytest.approx(0.25 * share)
        steady = start * (0.25 + 0.75 * share)
        assert group["steady_norm_sq"] == pytest.approx(steady)
        assert decay_of(group) == pytest.approx(effective_lr(0.25 * share, 0.5) ** 2 / (2 * steady))
        moved(optimizer, schedule)
    assert recipe.steady_norm_end == 0.25


def test_the_output_layer_keeps_its_constant_decay() -> None:
    _, optimizer, _ = built()
    (output,) = (group for group in optimizer.param_groups if group["role"] == "output")
    assert output.get("steady_norm_sq") is None
    assert decay_of(output) == pytest.approx(0.03125)


def test_scionc_is_scionc_cosine_without_an_end() -> None:
    _, optimizer, schedule = built("scionc")
    _, other, schedule_of_other = built(steady_norm_end=1.0)
    for _ in range(8):
        assert decay_of(hidden(other)) == pytest.approx(decay_of(hidden(optimizer)), rel=1e-12)
        moved(optimizer, schedule)
        moved(other, schedule_of_other)


def test_it_resumes_where_it_was() -> None:
    _, optimizer, schedule = built()
    for _ in range(3):
        moved(optimizer, schedule)
    _, resumed, schedule_of_resumed = built()
    resumed.load_state_dict(optimizer.state_dict())
    schedule_of_resumed.load_state_dict(schedule.state_dict())
    for _ in range(4):
        moved(optimizer, schedule)
        moved(resumed, schedule_of_resumed)
        assert schedule_of_resumed.last_epoch == schedule.last_epoch
        for key in ("lr", "steady_norm_sq"):
            assert hidden(resumed)[key] == hidden(optimizer)[key]


def test_states_of_runs_before_there_was_a_schedule_of_s_are_taken() -> None:
    _, optimizer, schedule = built("scionc")
    before = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, 8))
    assert schedule.state_dict().keys() == before.state_dict().keys()
    schedule.load_state_dict(before.state_dict())


@pytest.mark.parametrize("name", ["adamw", "muonc"])
def test_an_optimizer_whose_decay_does_not_follow_from_s_is_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^steady_norm_end is 0\.5, but no group of '{name}' derives its decay from S; use"
    ):
        built(name, steady_norm_end=0.5)
    with pytest.raises(ValueError, match=r"^steady_norm_end is 0\.25, but no group of 'scionc_cosine' derives"):
        built(decay_per_step=0.0)
