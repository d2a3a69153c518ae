"""From a size and an optimizer to a whole recipe: which field follows from which."""

from collections.abc import Mapping
from typing import Any, TypeVar

from steadydecay.known_optimizers.named_optimizers import NAMED_OPTIMIZERS
from steadydecay.recipes.optimizers import OPTIMIZERS, require_trainable, usual_momentum
from steadydecay.recipes.overrides import nearest
from steadydecay.recipes.recipe import Recipe, require_divisor, require_legal

RecipeKind = TypeVar("RecipeKind", bound=Recipe)


def recipe_for(kind: type[RecipeKind], size: str, optimizer: str, given: Mapping[str, Any]) -> RecipeKind:
    """The recipe of a size and an optimizer; `given` fields replace derived ones, and others derive from them.

    Args:
        kind: a class of recipes.
        size: a key of its `SIZES`.
        optimizer: a key of `OPTIMIZERS`; `given` holds what its family lacks in the recipe's `TUNED`.
        given: fields by name, but for size and optimizer.

    Raises:
        ValueError: unknown size or optimizer, `given` has size or optimizer, no lr or decay_per_step for the optimizer,
            or a number outside its range.
    """
    _require_known(kind, size, optimizer, given)
    family, trained = NAMED_OPTIMIZERS[optimizer].family, OPTIMIZERS[optimizer]
    values: dict[str, Any] = {"size": size, "optimizer": optimizer}
    values |= {**kind.SIZES[size], **kind.TUNED[size].get(family, {}), **given}
    for name in ("lr", "decay_per_step"):
        if name not in values:
            remedy = f"{kind.__name__} has no tuned one for {optimizer!r} at size {size!r}, so give it"
            raise ValueError(f"{name} is missing: {remedy}")
    steps = values["steps"]
    derived = {
        "output_lr": values["lr"],
        "momentum": usual_momentum(optimizer),
        "warmup_steps": trained.warmup_percent * steps // 100,
        "clip": trained.clip,
        "evaluate_every": max(1, steps // 10),
        "checkpoint_every": max(1, min(1_000, steps // 5)),
        # A measured step costs a tenth of one of the smallest size (benchmarks/watch_cost.py).
        "layers_every": max(min(10, steps), steps // 100),
    }
    recipe = kind(**derived | values)
    require_divisor(recipe)
    require_legal(recipe)
    return recipe


def _require_known(kind: type[Recipe], size: str, optimizer: str, given: Mapping[str, Any]) -> None:
    if size not in kind.SIZES:
        raise ValueError(f"size is {size!r}{nearest(size, kind.SIZES)}")
    for name in {"size", "optimizer"} & given.keys():
        remedy = f"other fields derive from it, so give it as the argument {name} (--{name})"
        raise ValueError(f"override names {name!r}; legal are fields other than size and optimizer: {remedy}")
    require_trainable(optimizer)
