"""Derive a complete recipe from a size and an optimizer."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from steadydecay.known_optimizers.named_optimizers import NAMED_OPTIMIZERS
from steadydecay.recipes.optimizers import OPTIMIZERS, require_trainable, require_usable, usual_momentum
from steadydecay.recipes.overrides import nearest
from steadydecay.recipes.recipe import Fields, Recipe, is_required, require_divisor, require_legal

RecipeKind = TypeVar("RecipeKind", bound=Recipe)

# Fields that are derived from other fields unless they are given.
DERIVED: dict[str, Callable[[Fields], Any]] = {
    "output_lr": lambda values: values["lr"],
    "momentum": lambda values: usual_momentum(values["optimizer"]),
    "warmup_steps": lambda values: OPTIMIZERS[values["optimizer"]].warmup_percent * values["steps"] // 100,
    "steady_norm_end": lambda values: OPTIMIZERS[values["optimizer"]].steady_norm_end,
    "clip": lambda values: OPTIMIZERS[values["optimizer"]].clip,
    "evaluate_every": lambda values: max(1, values["steps"] // 10),
    "checkpoint_every": lambda values: max(1, min(1_000, values["steps"] // 5)),
    # A measured step adds a tenth to the time of a step at the smallest size (benchmarks/watch_cost.py).
    "layers_every": lambda values: max(min(10, values["steps"]), values["steps"] // 100),
}


def recipe_for(kind: type[RecipeKind], size: str, optimizer: str, given: Mapping[str, Any]) -> RecipeKind:
    """Return the recipe of a size and an optimizer. Fields in `given` replace derived ones, and others derive from
    them.

    Args:
        kind: A class of recipes.
        size: A key of its `SIZES`.
        optimizer: A key of `OPTIMIZERS`. `given` must contain what the recipe's `TUNED` lacks for its family.
        given: Fields by name, except size and optimizer.

    Raises:
        ValueError: The size or optimizer is unknown, `given` contains size or optimizer, a field such as lr has no
            value, or a number is outside its range.
    """
    _require_known(kind, size, optimizer, given)
    tuned = kind.TUNED.get(size, {}).get(NAMED_OPTIMIZERS[optimizer].family, {})
    values: dict[str, Any] = {"size": size, "optimizer": optimizer, **kind.SIZES[size], **tuned, **given}
    _require_complete(kind, values)
    recipe = kind(**{name: of(values) for name, of in {**DERIVED, **kind.DERIVED}.items()} | values)
    require_divisor(recipe)
    require_legal(recipe)
    require_usable(recipe)
    return recipe


def _require_known(kind: type[Recipe], size: str, optimizer: str, given: Mapping[str, Any]) -> None:
    if size not in kind.SIZES:
        raise ValueError(f"size is {size!r}{nearest(size, kind.SIZES)}")
    for name in {"size", "optimizer"} & given.keys():
        remedy = f"other fields derive from it, so give it as the argument {name} (--{name})"
        raise ValueError(f"override names {name!r}, which cannot be overridden: {remedy}")
    require_trainable(optimizer)


def _require_complete(kind: type[Recipe], values: Fields) -> None:
    for field in fields(kind):
        if is_required(field) and field.name not in {*values, *DERIVED, *kind.DERIVED}:
            place = f"{values['optimizer']!r} at size {values['size']!r}"
            raise ValueError(f"{field.name} is missing: {kind.__name__} has no tuned value for {place}, so give one")
