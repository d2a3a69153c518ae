"""Check that a checkpoint belongs to a run: even with a correct checksum it may contain anything at all.

Whatever each part refuses by itself when it is loaded is not checked here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from steadydecay.recipes.checkpoint import CheckpointError

Shape = tuple[int, ...]
# Schedules and corrections change these; all other numbers of a group stay as in the recipe.
MOVED = ("lr", "weight_decay", "steady_norm_sq")
# Another version may round a schedule's arithmetic differently.
TOLERANCE = 1e-6


@final
@dataclass(frozen=True)
class ExpectedState:
    """The state of an optimizer and its schedule as the recipe builds them.

    Attributes:
        groups: The values of each parameter group.
        shapes: The shapes of the weights, in the order of the groups.
        made: For each weight, by its position, the names and shapes of the state that exists from construction on.
        base_lrs: The base learning rates of the schedule.
    """

    groups: list[Mapping[str, Any]]
    shapes: list[Shape]
    made: dict[int, dict[str, Shape]]
    base_lrs: list[float]


def expected_state(optimizer: torch.optim.Optimizer, base_lrs: Sequence[float]) -> ExpectedState:
    """Record what is expected, before anything is loaded."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    saved = optimizer.state_dict()
    made = {place: _shapes(kept) for place, kept in saved["state"].items()}
    return ExpectedState(saved["param_groups"], [tuple(one.shape) for one in weights], made, list(map(float, base_lrs)))


def require_recipe(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the recipe in a checkpoint; raise CheckpointError unless it consists of numbers, text and containers."""
    recipe = state.get("recipe")
    if not isinstance(recipe, dict):
        raise CheckpointError("it contains no recipe, so it is not a checkpoint of a run")
    _require_plain(recipe, "recipe")
    return recipe


def require_expected(expected: ExpectedState, state: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless the schedule and the optimizer in a loaded checkpoint are the expected ones."""
    _require_schedule(expected, state["schedule"])
    groups = state["optimizer"]["param_groups"]
    for own, saved in zip(expected.groups, groups, strict=True):
        _require_group(own, saved)
    _require_kept(expected, groups, state["optimizer"]["state"])


def _require_schedule(expected: ExpectedState, schedule: Mapping[str, Any]) -> None:
    _require_plain(schedule, "schedule")
    if not isinstance(schedule.get("last_epoch"), int):
        raise CheckpointError(f"its schedule is at step {schedule.get('last_epoch')!r}, which is not a whole number")
    if not _is_same(expected.base_lrs, schedule.get("base_lrs")):
        raise CheckpointError(
            f"its schedule has base_lrs={schedule.get('base_lrs')!r}, where the recipe has {expected.base_lrs!r}"
        )


def _require_group(own: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    for name, value in own.items():
        # This version may know more keys of a group than the one that saved it.
        if name == "params" or name not in saved or not _is_of_numbers(value):
            continue
        found = saved[name]
        is_legal = _is_number(found) if name in MOVED else _is_same(value, found)
        if not is_legal:
            told = "which is not a finite number" if name in MOVED else f"where the recipe has {value!r}"
            raise CheckpointError(f"its optimizer has {name}={_short(found)}, {told}")


def _require_kept(expected: ExpectedState, groups: list[Mapping[str, Any]], kept: Mapping[Any, Any]) -> None:
    places = [place for group in groups if _keeps_state(group) for place in group["params"]]
    # torch's optimizers keep no state for a weight that never had a gradient, but some weight must have had one.
    if places and not any(kept.get(place) for place in places):
        raise CheckpointError("its optimizer's state is empty, although the run had taken steps")
    for place, names in expected.made.items():
        if missing := names.keys() - _kept_of(kept, place).keys():
            raise CheckpointError(f"its optimizer's state of weight {place} lacks {', '.join(sorted(missing))}")
    for place, shape in enumerate(expected.shapes):
        for name, found in _kept_of(kept, place).items():
            _require_shape(f"{name} of weight {place}", found, expected.made.get(place, {}).get(name, shape))


def _require_shape(what: str, found: Any, shape: Shape) -> None:
    # A count of steps has one entry, whatever the shape of the weight.
    if isinstance(found, Tensor) and found.numel() != 1 and tuple(found.shape) != shape:
        raise CheckpointError(f"its optimizer's {what} has the shape {tuple(found.shape)}, where {shape} is expected")


def _kept_of(kept: Mapping[Any, Any], place: int) -> Mapping[str, Any]:
    found = kept.get(place, {})
    if not isinstance(found, Mapping):
        raise CheckpointError(f"its optimizer's state of weight {place} is {_short(found)}, where a dict is expected")
    return found


def _keeps_state(group: Mapping[str, Any]) -> bool:
    return "betas" in group or bool(group.get("momentum"))


def _shapes(kept: Mapping[str, Any]) -> dict[str, Shape]:
    return {name: tuple(value.shape) for name, value in kept.items() if isinstance(value, Tensor)}


def _is_same(value: Any, found: Any) -> bool:
    """Return whether two numbers, or two sequences of them, are equal up to rounding."""
    if isinstance(value, tuple | list):
        is_sequence = isinstance(found, tuple | list) and len(found) == len(value)
        return is_sequence and all(map(_is_same, value, found))
    return _is_number(found) and math.isclose(value, found, rel_tol=TOLERANCE)


def _is_of_numbers(value: Any) -> bool:
    values = value if isinstance(value, tuple | list) else [value]
    return bool(values) and all(map(_is_number, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require_plain(value: Any, name: str) -> None:
    for place, found in _leaves(value, name):
        if not isinstance(found, int | float | str | None):
            raise CheckpointError(f"its {place} is {_short(found)}, where only numbers and text are expected")


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, found in value.items():
            yield from _leaves(found, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for found in value:
            yield from _leaves(found, name)
    else:
        yield name, value


def _short(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:80]
