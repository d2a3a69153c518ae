"""The optimizers a recipe can name, each built from the same fields."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from steadydecay.groups.param_groups import param_groups
from steadydecay.groups.roles import ROLES
from steadydecay.norms import Spectral
from steadydecay.optim.adamc import AdamC
from steadydecay.optim.lion import Lion
from steadydecay.optim.renormalized_adamw import RenormalizedAdamW
from steadydecay.optim.scion import Scion
from steadydecay.optim.sgdw import SGDW
from steadydecay.recipes.optimizer_chain import OptimizerChain
from steadydecay.recipes.recipe import Recipe, nearest

ADAM_BETA2 = 0.95
LION_BETA2 = 0.99
MUON_ADAM_BETAS = (0.9, ADAM_BETA2)


def elementwise_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """One lr for all; no decay for vectors."""
    return param_groups(model, "adamw", lr=recipe.lr, weight_decay=recipe.decay_per_step / recipe.lr)


def adamw(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    betas = (recipe.momentum, ADAM_BETA2)
    return torch.optim.AdamW(elementwise_groups(model, recipe), lr=recipe.lr, betas=betas)


def adamc(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return AdamC(elementwise_groups(model, recipe), recipe.lr, (recipe.momentum, ADAM_BETA2))


def renormalized_adamw(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return RenormalizedAdamW(elementwise_groups(model, recipe), recipe.lr, (recipe.momentum, ADAM_BETA2))


def adam_l2(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """λ goes into the gradient, and so through both moments: `decay_per_step` is lr · λ, and not what is lost."""
    betas = (recipe.momentum, ADAM_BETA2)
    return torch.optim.Adam(elementwise_groups(model, recipe), lr=recipe.lr, betas=betas)


def lion(model: nn.Module, recipe: Recipe, decay: str = "constant") -> torch.optim.Optimizer:
    return Lion(elementwise_groups(model, recipe), recipe.lr, (recipe.momentum, LION_BETA2), decay=decay)


def sgdw(model: nn.Module, recipe: Recipe, decay: str = "constant") -> torch.optim.Optimizer:
    return SGDW(elementwise_groups(model, recipe), recipe.lr, recipe.momentum, decay=decay)


def scion(model: nn.Module, recipe: Recipe, decay: str = "constant") -> torch.optim.Optimizer:
    lr = {role: recipe.output_lr if role in ("output", "embedding") else recipe.lr for role in ROLES}
    weight_decay = {role: recipe.decay_per_step / role_lr for role, role_lr in lr.items()}
    groups = param_groups(model, "scion", lr=lr, weight_decay=weight_decay)
    return Scion(groups, recipe.lr, recipe.momentum, decay=decay)


def muon(model: nn.Module, recipe: Recipe, decay: str = "constant") -> torch.optim.Optimizer:
    """Muon for hidden matrices at lr, AdamW for all else at output_lr, as its author has it.

    Its update is that of torch.optim.Muon: the polar factor of a Nesterov average, times max(1, √(d_out/d_in)). It runs
    in Scion, because torch's takes no (3, d, d) stack of query, key and value; the polynomial is the Polar Express.
    """
    lr = {role: recipe.lr if role == "hidden" else recipe.output_lr for role in ROLES}
    weight_decay = {role: recipe.decay_per_step / role_lr for role, role_lr in lr.items()}
    groups = param_groups(model, "adamw", lr=lr, weight_decay=weight_decay)
    hidden = [group for group in groups if group["role"] == "hidden"]
    others = [group for group in groups if group["role"] != "hidden"]
    spectral = Scion(hidden, recipe.lr, recipe.momentum, nesterov=True, norm=Spectral(scale="max"), decay=decay)
    return OptimizerChain(spectral, AdamC(others, recipe.output_lr, MUON_ADAM_BETAS, decay=decay))


OPTIMIZERS: dict[str, Callable[[nn.Module, Recipe], torch.optim.Optimizer]] = {
    "adamw": adamw,
    "adamc": adamc,
    "renormalized_adamw": renormalized_adamw,
    "adam_l2": adam_l2,
    "lion": lion,
    "lionc": partial(lion, decay="corrected"),
    "sgdw": sgdw,
    "sgdc": partial(sgdw, decay="corrected"),
    "muon": muon,
    "muonc": partial(muon, decay="corrected"),
    "scion": scion,
    "scionc": partial(scion, decay="corrected"),
}


def require_optimizer(name: str) -> None:
    """ValueError with the nearest right name unless `name` is a key of `OPTIMIZERS`."""
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer is {name!r}{nearest(name, OPTIMIZERS)}")
