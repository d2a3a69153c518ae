"""The budget of a recipe: its data, its model counted, and the arithmetic of both."""

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
    """Data that a run would be trained on.

    Attributes:
        data: of the recipe, or blank ones.
        decided: what they decide.
        note: a sentence on what blank ones stand for; empty where they are the recipe's own.
    """

    data: Any
    decided: Mapping[str, Any]
    note: str = ""


def recipe_budget(recipe: Recipe, devices: Sequence[int] | None = None, strategy: Strategy = "ddp") -> RunBudget:
    """What a run of this recipe takes. Nothing is trained, and nothing is written.

    Args:
        recipe: of `recipe_for`, or with every field given.
        devices: numbers of devices, divisors of batch_size / accumulate; by default those of 1 and 8 that are.
        strategy: how several of them share the model, "ddp" or "fsdp".

    Raises:
        ValueError: a number outside its range, or data that cannot be trained on.
        OSError: the data are not there, and no others are known for this size; or they cannot be read.
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
    """The recipe's data; where none are named, or nothing is there, blank ones like those its size is meant for.

    Raises:
        ValueError, OSError: of `load_data`, where the recipe knows no others.
    """
    meant = recipe.MEANT_DATA.get(recipe.size, {})
    blank = recipe.data_like(meant) if meant else None
    if blank is None:
        return _own_data(recipe)
    instead = f"the budget is that of {meant['meant_data']}, for which size {recipe.size} is meant"
    if recipe.data is None:
        return PlannedData(blank, meant, f"No data are named (--data), so {instead}.")
    try:
        return _own_data(recipe)
    except FileNotFoundError:
        return PlannedData(blank, meant, f"There is nothing at --data {recipe.data}, so {instead}.")


def _own_data(recipe: Recipe) -> PlannedData:
    data = recipe.load_data()
    return PlannedData(data, recipe.decided_by(data))


def _legal_devices(devices: Sequence[int] | None, examples: int, recipe: Recipe) -> Sequence[int]:
    if devices is None:
        return [count for count in USUAL_DEVICES if examples % count == 0]
    for count in devices:
        if count < 1 or examples % count:
            raise ValueError(
                f"gpus has {count}; legal are divisors of batch_size / accumulate = {examples}, which the GPUs share: "
                f"give another number, or another batch_size (now {recipe.batch_size})"
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
    return [f"Of the data: {', '.join(said)}."] if decided else []
