"""The table of optimizers that a recipe can name, and what training needs to know about each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn

from steadydecay.groups.intrinsic_roles import ROLES
from steadydecay.groups.param_groups import param_groups
from steadydecay.known_optimizers.named_optimizers import NAMED_OPTIMIZERS
from steadydecay.norms import Spectral
from steadydecay.optim.adamc import AdamC
from steadydecay.optim.lion import Lion
from steadydecay.optim.renormalized_adamw import RenormalizedAdamW
from steadydecay.optim.scion import Scion
from steadydecay.optim.sgdw import SGDW
from steadydecay.recipes.optimizer_chain import OptimizerChain
from steadydecay.recipes.overrides import nearest
from steadydecay.recipes.recipe import Recipe
from steadydecay.theory import DECAY_RULES
from steadydecay.theory.steady_state import effective_lr

# PyTorch's classes, and those that are built like them, do not follow a decay rule.
OF_CONSTANT_DECAY = ("adamw", "renormalized_adamw", "adam_l2")
ADAM_BETA2 = 0.95
LION_BETA2 = 0.99
MUON_ADAM_BETAS = (0.9, ADAM_BETA2)


@final
@dataclass(frozen=True)
class TrainedOptimizer:
    """What training needs to know about an optimizer. Calling it with a model and a recipe builds the optimizer.

    Attributes:
        build: Builds the optimizer of a model with the numbers and the decay rule (`decay_rule_of`) of a recipe.
        clip: The usual largest gradient norm; None if the size of a step does not depend on the gradients' size.
        warmup_percent: The usual share of steps in which the learning rate warms up, in percent.
        steady_norm_end: The usual share of its start at which S ends; None if no schedule changes S.
    """

    build: Callable[[nn.Module, Recipe], torch.optim.Optimizer]
    clip: float | None = None
    warmup_percent: int = 5
    steady_norm_end: float | None = None

    def __call__(self, model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
        return self.build(model, recipe)


def usual_momentum(optimizer: str) -> float:
    """Return β, or β₁, for recipes that do not set it. `optimizer` is a key of `OPTIMIZERS`."""
    usual = NAMED_OPTIMIZERS[optimizer].usual
    return usual["betas"][0] if "betas" in usual else usual["momentum"]


# η ∝ γ² whatever the momentum does (arXiv 2506.02285; arXiv 2512.08217, Appendix C.3): the schedule writes λ ∝ γ.
LR_SQUARED = "lr_squared"


def decay_rule_of(recipe: Recipe) -> str:
    """Return the decay rule to give to the recipe's optimizer, which is a key of `DECAY_RULES`."""
    rule = recipe.decay_rule or NAMED_OPTIMIZERS[recipe.optimizer].rule
    return "constant" if rule == LR_SQUARED else rule


def is_nesterov(recipe: Recipe) -> bool:
    """Return whether the recipe's optimizer uses Nesterov momentum."""
    usual = NAMED_OPTIMIZERS[recipe.optimizer].usual.get("nesterov", False)
    return usual if recipe.nesterov is None else recipe.nesterov


def require_usable(recipe: Recipe) -> None:
    """Raise ValueError if the recipe sets a field that its optimizer does not have."""
    name, known = recipe.optimizer, NAMED_OPTIMIZERS[recipe.optimizer]
    if recipe.decay_rule is not None and recipe.decay_rule not in (*DECAY_RULES, LR_SQUARED):
        raise ValueError(f"decay_rule is {recipe.decay_rule!r}{nearest(recipe.decay_rule, (*DECAY_RULES, LR_SQUARED))}")
    if decay_rule_of(recipe) != "constant" and name in OF_CONSTANT_DECAY:
        raise ValueError(
            f"decay_rule is {recipe.decay_rule!r}, but {name!r} keeps λ constant; use adamc or scionc instead"
        )
    if recipe.nesterov is not None and "nesterov" not in known.usual:
        raise ValueError(f"nesterov is {recipe.nesterov!r}, but {name!r} does not have this choice; use nesterov=none")
    if recipe.beta2 is not None and "betas" not in known.usual:
        raise ValueError(f"beta2 is {recipe.beta2!r}, but {name!r} does not have a second beta; use beta2=none")


def require_trainable(optimizer: str) -> None:
    """Raise ValueError, with the nearest right name, unless `optimizer` is a key of `OPTIMIZERS`."""
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer is {optimizer!r}{nearest(optimizer, OPTIMIZERS)}")


def elementwise_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return groups with one learning rate for all layers and no weight decay for vectors."""
    groups = param_groups(model, "adamw", lr=recipe.lr, weight_decay=recipe.decay_per_step / recipe.lr)
    return _with_output_rule(groups, recipe)


def _with_output_rule(groups: list[dict[str, Any]], recipe: Recipe) -> list[dict[str, Any]]:
    """Correct the output layer like all others if the recipe asks for it (Appendix D, Fig. 12)."""
    if not recipe.correct_output:
        return groups
    rule = {"decay": decay_rule_of(recipe)}
    return [group | rule if group["role"] == "output" else group for group in groups]


def adam_betas(recipe: Recipe) -> tuple[float, float]:
    return recipe.momentum, ADAM_BETA2 if recipe.beta2 is None else recipe.beta2


def adamw(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.AdamW(elementwise_groups(model, recipe), lr=recipe.lr, betas=adam_betas(recipe))


def adamc(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return AdamC(elementwise_groups(model, recipe), recipe.lr, adam_betas(recipe), decay=decay_rule_of(recipe))


def renormalized_adamw(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return RenormalizedAdamW(elementwise_groups(model, recipe), recipe.lr, adam_betas(recipe))


def adam_l2(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Add λθ to the gradient, and so to both moments; `decay_per_step` is lr · λ, not the share that a step removes."""
    return torch.optim.Adam(elementwise_groups(model, recipe), lr=recipe.lr, betas=adam_betas(recipe))


def lion(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    betas = (recipe.momentum, LION_BETA2 if recipe.beta2 is None else recipe.beta2)
    return Lion(elementwise_groups(model, recipe), recipe.lr, betas, decay=decay_rule_of(recipe))


def sgdw(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    groups, rule = elementwise_groups(model, recipe), decay_rule_of(recipe)
    return SGDW(groups, recipe.lr, recipe.momentum, nesterov=is_nesterov(recipe), decay=rule)


def scion(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    lr = {role: recipe.output_lr if role in ("output", "embedding") else recipe.lr for role in ROLES}
    weight_decay = {role: recipe.decay_per_step / role_lr for role, role_lr in lr.items()}
    groups = _with_output_rule(param_groups(model, "scion", lr=lr, weight_decay=weight_decay), recipe)
    if recipe.steady_norm_end is not None:
        groups = [_with_steady_norm(group, recipe) for group in groups]
    return Scion(groups, recipe.lr, recipe.momentum, nesterov=is_nesterov(recipe), decay=decay_rule_of(recipe))


def _with_steady_norm(group: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Set S instead of a decay if the decay is corrected; η = γ_eff²/(2S) equals the recipe's at the start."""
    if group.get("decay") == "constant" or not recipe.decay_per_step:
        return group
    steady_norm_sq = effective_lr(group["lr"], recipe.momentum, is_nesterov(recipe)) ** 2 / (2 * recipe.decay_per_step)
    return group | {"weight_decay": 0.0, "steady_norm_sq": steady_norm_sq}


def muon(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Use Muon for hidden matrices at lr and AdamW for everything else at output_lr, as Muon's author does.

    The update equals that of torch.optim.Muon: the polar factor of a Nesterov average, times max(1, √(d_out/d_in)). It
    runs in Scion, because torch's class does not accept a (3, d, d) stack of query, key and value. The polynomial is
    Polar Express.
    """
    decay = decay_rule_of(recipe)
    lr = {role: recipe.lr if role == "hidden" else recipe.output_lr for role in ROLES}
    weight_decay = {role: recipe.decay_per_step / role_lr for role, role_lr in lr.items()}
    groups = _with_output_rule(param_groups(model, "adamw", lr=lr, weight_decay=weight_decay), recipe)
    hidden = [group for group in groups if group["role"] == "hidden"]
    others = [group for group in groups if group["role"] != "hidden"]
    nesterov, norm = is_nesterov(recipe), Spectral(scale="max")
    spectral = Scion(hidden, recipe.lr, recipe.momentum, nesterov=nesterov, norm=norm, decay=decay)
    return OptimizerChain(spectral, AdamC(others, recipe.output_lr, MUON_ADAM_BETAS, decay=decay))


# NAMED_OPTIMIZERS lists titles, families, decay rules and usual momenta under the same names.
OPTIMIZERS: dict[str, TrainedOptimizer] = {
    "adamw": TrainedOptimizer(adamw, clip=1.0),
    "adamc": TrainedOptimizer(adamc, clip=1.0),
    "renormalized_adamw": TrainedOptimizer(renormalized_adamw, clip=1.0),
    "adam_l2": TrainedOptimizer(adam_l2, clip=1.0),
    "lion": TrainedOptimizer(lion),
    "lionc": TrainedOptimizer(lion),
    "sgdw": TrainedOptimizer(sgdw, clip=1.0),
    "sgdc": TrainedOptimizer(sgdw, clip=1.0),
    "muon": TrainedOptimizer(muon),
    "muonc": TrainedOptimizer(muon),
    "scion": TrainedOptimizer(scion, warmup_percent=0),
    "scionc": TrainedOptimizer(scion, warmup_percent=0),
    # The middle one of the values 1/2, 1/4 and 1/8 of the start that the paper tries.
    "scionc_cosine": TrainedOptimizer(scion, warmup_percent=0, steady_norm_end=0.25),
}
