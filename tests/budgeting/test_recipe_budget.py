"""The budget of a whole run."""

from pathlib import Path
from typing import Any

import pytest

from steadydecay.budgeting.recipe_budget import planned_data, recipe_budget
from steadydecay.recipes.gpt.recipe import gpt_recipe
from steadydecay.recipes.vit.recipe import vit_recipe

TINY = {"layers": 1, "heads": 1, "width": 32, "length": 8, "batch_size": 8, "precision": "float32", "steps": 30}


def test_a_run_s_numbers_follow_from_its_recipe_and_its_data(text: Path) -> None:
    recipe = gpt_recipe("mini", "adamw", TINY | {"data": str(text), "keep_checkpoints": 3})
    data = recipe.load_data()
    budget = recipe_budget(recipe)
    weights = 12 * 32**2 + 256 * 32
    assert budget.parameters == {"hidden": 12 * 32**2, "output": 256 * 32}
    assert budget.all_items == 30 * 8 * 8 and budget.items == "tokens"
    assert budget.epochs == pytest.approx(30 * 8 / ((data.train.token_count - 1) // 8), rel=0.01)
    assert budget.model_flops == 30 * 8 * (6 * weights * 8 + 12 * 32 * 8**2)
    assert budget.optimizer_flops == budget.optimizer_share == 0
    # A tied weight is on disk once, with Adam's two moments.
    assert budget.checkpoint_bytes == pytest.approx(4 * 3 * weights, rel=1e-3) and budget.checkpoints == 3
    assert [share.devices for share in budget.shares] == [1, 8]
    assert budget.notes[0].startswith("The data decide the following: vocabulary_size 256, train_tokens ")


def test_a_short_run_keeps_no_more_checkpoints_than_it_writes(text: Path) -> None:
    given = {"data": str(text), "checkpoint_every": 30}
    assert recipe_budget(gpt_recipe("mini", "adamw", TINY | given)).checkpoints == 1


@pytest.mark.parametrize("data", [None, "nothing/here"])
def test_where_the_data_of_the_paper_are_not_at_hand_their_size_is_told_and_said(data: str | None) -> None:
    recipes: list[Any] = [gpt_recipe("124m", "scionc", {"data": data}), vit_recipe("s16", "scionc", {"data": data})]
    for recipe, name in zip(recipes, ("FineWeb-Edu", "ImageNet-1k"), strict=True):
        planned = planned_data(recipe)
        assert (
            name in planned.note
            and ("The data nothing/here do not exist" if data else "No data are given") in planned.note
        )
        epochs = recipe.steps * recipe.batch_size / recipe.epoch_examples(planned.data)
        assert epochs == pytest.approx({"FineWeb-Edu": 1, "ImageNet-1k": 90}[name], rel=1e-3)


def test_data_that_are_there_are_taken(text: Path) -> None:
    planned = planned_data(gpt_recipe("124m", "scionc", {"data": str(text)}))
    assert planned.note == "" and planned.decided["vocabulary_size"] == 256


def test_a_size_that_is_for_any_data_needs_some() -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        recipe_budget(gpt_recipe("mini", "scionc", {"data": "nothing/here"}))


@pytest.mark.parametrize("devices", [[3], [0], [1, 16]])
def test_devices_that_cannot_share_a_batch_are_refused(devices: list[int], text: Path) -> None:
    recipe = gpt_recipe("mini", "scionc", TINY | {"data": str(text)})
    with pytest.raises(ValueError, match=rf"gpus has {devices[-1]}; it must be a divisor of .* = 8"):
        recipe_budget(recipe, devices)
