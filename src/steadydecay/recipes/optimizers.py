"""The optimizers a recipe can name, each built from the same fields."""

from collections.abc import Callable

import torch
from torch import nn

from steadydecay.groups import param_groups
from steadydecay.optim.scion import Scion
from steadydecay.recipes.recipe import Recipe, nearest
from steadydecay.roles import ROLES


def adamw(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    groups = param_groups(model, "adamw", lr=recipe.lr, weight_decay=recipe.decay_per_step / recipe.lr)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.95))


def scion(model: nn.Module, recipe: Recipe, decay: str = "constant") -> torch.optim.Optimizer:
    lr = {role: recipe.output_lr if role in ("output", "embedding") else recipe.lr for role in ROLES}
    weight_decay = {role: recipe.decay_per_step / role_lr for role, role_lr in lr.items()}
    groups = param_groups(model, "scion", lr=lr, weight_decay=weight_decay)
    return Scion(groups, recipe.lr, recipe.momentum, decay=decay)


def scionc(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return scion(model, recipe, decay="corrected")


OPTIMIZERS: dict[str, Callable[[nn.Module, Recipe], torch.optim.Optimizer]] = {
    "adamw": adamw,
    "scion": scion,
    "scionc": scionc,
}


def require_optimizer(name: str) -> None:
    """ValueError with the nearest right name unless `name` is a key of `OPTIMIZERS`."""
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer is {name!r}{nearest(name, OPTIMIZERS)}")
