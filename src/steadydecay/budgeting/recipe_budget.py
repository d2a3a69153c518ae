"""The budget of a recipe: its data, its counted model, and the arithmetic of both."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from steadydecay.budgeting.counted_model import CountedModel, bytes_of, counted_model
from steadydecay.budgeting.device_shares import cost_of_step, device_share, state_bytes
from steadydecay.budgeting.run_budget import RunBudget
from steadydecay.recipes.optimizers import require_usable
from steadydecay.recipes.recipe import Recipe, require_legal
from steadydecay.recipes.strategy import Strategy, require_strategy

USUAL_DEVICES = (1, 8)


class PlannedData(NamedTuple):
    """The data that a run would be trained on.

    Attributes:
        data: The recipe's data, or blank ones.
        decided: What the data decide.
        note: A sentence about what blank data stand for, or "" for the recipe's own data.
    """

    data: Any
    decided: Mapping[str, Any]
    note: str = ""


def recipe_budget(recipe: Recipe, devices: Sequence[int] | None = None, strategy: Strategy = "ddp") -> RunBudget:
    """Return what a run of this recipe takes. Nothing is trained or written.

    Args:
        recipe: A recipe from `recipe_for`, or one with every field given.
        devices: Numbers of devices, which must divide batch_size / accumulate. The default is 1 and 8, if they do.
        strategy: How several devices share the model, "ddp" or "fsdp".

    Raises:
        ValueError: A number is outside its range, or the data cannot be trained on.
        OSError: The data do not exist and no stand-in is known for this size, or they cannot be read.
    """
    require_legal(recipe)
    require_usable(recipe)
    require_strategy(strategy)
    examples = recipe.batch_size // recipe.accumulate
    devices = _legal_devices(devices, examples, recipe)
    data, decided, note = planned_data(recipe)
    counted = counted_model(recipe, data)
    # A tied weight is saved once.
    weights = {one.untyped_storage()._cdata: bytes_of(one) for one in counted.model.state_dict().values()}
    return RunBudget(
        label=f"{recipe.optimizer} seed {recipe.seed}",
        parameters=_parameters_by_role(counted),
        steps=recipe.steps,
        examples=recipe.batch_size,
        items=recipe.ITEM,
        items_per_example=recipe.items_per_example,
        epoch_examples=recipe.epoch_examples(data),
        flops_per_example=counted.flops_per_example,
        multiplications=cost_of_step(counted, 1, strategy).multiplications[0],
        checkpoint_bytes=sum(weights.values()) + state_bytes(counted),
        checkpoints=min(recipe.keep_checkpoints, -(-recipe.steps // recipe.checkpoint_every)),
        shares=tuple(device_share(counted, examples, count, strategy) for count in devices),
        notes=tuple(filter(None, (note, _note_on_device(counted), *_in_words(decided)))),
    )


def planned_data(recipe: Recipe) -> PlannedData:
    """Return the recipe's data or, if none are named or none exist, blank data like those that its size is meant for.

    Raises:
        ValueError, OSError: Raised by `load_data` if the recipe knows no stand-in.
    """
    meant = recipe.MEANT_DATA.get(recipe.size, {})
    blank = recipe.data_like(meant) if meant else None
    if blank is None:
        return _own_data(recipe)
    instead = f"the budget is that of {meant['meant_data']}, which size {recipe.size} is meant for"
    if recipe.data is None:
        return PlannedData(blank, meant, f"No data are given (--data), so {instead}.")
    try:
        return _own_data(recipe)
    except FileNotFoundError:
        return PlannedData(blank, meant, f"The data {recipe.data} do not exist (--data), so {instead}.")


def _own_data(recipe: Recipe) -> PlannedData:
    data = recipe.load_data()
    return PlannedData(data, recipe.decided_by(data))


def _legal_devices(devices: Sequence[int] | None, examples: int, recipe: Recipe) -> Sequence[int]:
    if devices is None:
        return [count for count in USUAL_DEVICES if examples % count == 0]
    for count in devices:
        if count < 1 or examples % count:
            raise ValueError(
                f"gpus has {count}; it must be a divisor of batch_size / accumulate = {examples}, which the GPUs "
                "share. Give "
                f"another number, or another batch_size (now {recipe.batch_size})."
            )
    return devices


def _parameters_by_role(counted: CountedModel) -> dict[str, int]:
    found: Counter[str] = Counter()
    for group in counted.optimizer.param_groups:
        found[group["role"]] += sum(parameter.numel() for parameter in group["params"])
    return dict(found)


def _note_on_device(counted: CountedModel) -> str:
    if counted.device == "meta":
        return ""
    return "The model cannot be built without memory, so a real batch was counted on the CPU."


def _in_words(decided: Mapping[str, Any]) -> list[str]:
    said = (f"{name} {f'{value:,}' if isinstance(value, int) else value}" for name, value in decided.items())
    return [f"The data decide the following: {', '.join(said)}."] if decided else []
