"""The hyperparameters of a planned run, and the parameter groups that follow from them."""

from dataclasses import dataclass
from typing import Any, final

from torch import nn

from steadydecay.groups.intrinsic_roles import ROLES
from steadydecay.groups.param_groups import param_groups
from steadydecay.groups.roles import Output
from steadydecay.groups.settings import Group
from steadydecay.known_optimizers.known_optimizer import KnownOptimizer
from steadydecay.known_optimizers.named_optimizers import NAMED_OPTIMIZERS, NamedOptimizer
from steadydecay.known_optimizers.table import ADAMW
from steadydecay.recipes.optimizers import ADAM_BETA2, MUON_ADAM_BETAS
from steadydecay.recipes.overrides import nearest
from steadydecay.theory.validation import require_in

GroupsOf = list[tuple[Group, KnownOptimizer]]


@final
@dataclass(frozen=True)
class Hyperparameters:
    """What a forecast needs to know. γ and η are those at the peak of the schedule.

    Attributes:
        optimizer: One of `PREDICTABLE`.
        lr: The learning rate γ > 0.
        output_lr: γ of the output layer and embeddings (under Muon, of everything that is not hidden). None is `lr`.
        momentum: β, or β₁, in [0, 1). None is the optimizer's usual value.
        beta2: Lion's β₂ in [0, 1). None is 0.99.
        nesterov: Whether Scion uses Nesterov momentum (Muon always does).
        weight_decay: λ, which is multiplied by the lr of each layer. Give exactly one of it and the next two.
        decay_per_step: η in [0, 1), the same for every layer.
        steady_norm_sq: S of every layer.
    """

    optimizer: str
    lr: float
    output_lr: float | None = None
    momentum: float | None = None
    beta2: float | None = None
    nesterov: bool = False
    weight_decay: float | None = None
    decay_per_step: float | None = None
    steady_norm_sq: float | None = None


def groups_of(
    model: nn.Module,
    hyperparameters: Hyperparameters,
    overrides: dict[str, dict[str, Any]] | None = None,
    output: Output = None,
) -> GroupsOf:
    """Return the model's parameter groups with these hyperparameters, each with what is known about its optimizer.

    Args:
        model: The model, possibly on the meta device. Only names and shapes are read.
        hyperparameters: The hyperparameters, which are checked here.
        overrides, output: As for `param_groups`.

    Raises:
        ValueError: The optimizer is unknown, no theory predicts its norms, or a number is outside its range.
    """
    name = hyperparameters.optimizer
    if reason := why_unpredictable(name):
        raise ValueError(f"optimizer is {name!r}, {reason}; it must be one of {', '.join(PREDICTABLE)}")
    if name not in PREDICTABLE:
        raise ValueError(f"optimizer is {name!r}{nearest(name, PREDICTABLE)}")
    named = NAMED_OPTIMIZERS[name]
    _check(hyperparameters, named)
    build = _of_muon if named.family == "muon" else _of_one
    return build(model, hyperparameters, named, overrides=overrides or {}, output=output)


def why_unpredictable(name: str) -> str:
    """Say why no theory predicts the norms under this optimizer; return "" if one does or the optimizer is unknown."""
    known = NAMED_OPTIMIZERS[name].known if name in NAMED_OPTIMIZERS else None
    if known is not None and known.decay == "l2":
        return "whose L2 regularisation passes through the second moment, so that it maintains no norm"
    if known is not None and known.sized_by == "gradient":
        return "whose updates are as large as the gradients, which are unknown before training"
    return ""


# A correction changes only the decay rule, and a forecast shows both rules. Renormalisation is not predicted.
PREDICTABLE = [name for name in NAMED_OPTIMIZERS if not why_unpredictable(name) and name != "renormalized_adamw"]


def _of_one(model: nn.Module, given: Hyperparameters, named: NamedOptimizer, **options: Any) -> GroupsOf:
    """Use one optimizer for all groups."""
    lr = {role: _output_lr(given) if role in ("output", "embedding") else given.lr for role in ROLES}
    own = _momentum_keys(given, named)
    return [(group | own, named.known) for group in _groups(model, given, named, lr, **options)]


def _of_muon(model: nn.Module, given: Hyperparameters, named: NamedOptimizer, **options: Any) -> GroupsOf:
    """Treat hidden matrices as in `recipes.optimizers.muon`, and everything else as under AdamW."""
    lr = {role: given.lr if role == "hidden" else _output_lr(given) for role in ROLES}
    groups = _groups(model, given, named, lr, **options)
    own = _momentum_keys(given, named) | {"nesterov": True, "norm": {"name": "spectral", "scale": "max"}}
    hidden = [(group | own, named.known) for group in groups if group["role"] == "hidden"]
    others = [(group | {"betas": MUON_ADAM_BETAS}, ADAMW) for group in groups if group["role"] != "hidden"]
    return hidden + others


def _momentum_keys(given: Hyperparameters, named: NamedOptimizer) -> Group:
    if "betas" not in named.usual:
        return {"momentum": _or(given.momentum, named.usual["momentum"]), "nesterov": given.nesterov}
    first, second = named.usual["betas"]
    # Adam's β₂ affects no norm; it is that of the recipes.
    return {"betas": (_or(given.momentum, first), ADAM_BETA2 if named.family == "adam" else _or(given.beta2, second))}


def _groups(
    model: nn.Module,
    given: Hyperparameters,
    named: NamedOptimizer,
    lr: dict[Any, float],
    overrides: dict[str, dict[str, Any]],
    output: Output,
) -> list[Group]:
    weight_decay = _weight_decay_of_role(given, lr)
    groups = param_groups(model, given.optimizer, lr=lr, weight_decay=weight_decay, output=output, overrides=overrides)
    if given.steady_norm_sq is None:
        return groups
    is_decayed = {id(group): named.takes_norms or group["role"] != "vector" for group in groups}
    return [group | {"steady_norm_sq": given.steady_norm_sq} if is_decayed[id(group)] else group for group in groups]


def _weight_decay_of_role(given: Hyperparameters, lr: dict[Any, float]) -> dict[Any, float]:
    if given.weight_decay is not None:
        return dict.fromkeys(ROLES, given.weight_decay)
    return {role: (given.decay_per_step or 0.0) / lr[role] for role in ROLES}


def _output_lr(given: Hyperparameters) -> float:
    return given.lr if given.output_lr is None else given.output_lr


def _or(given: float | None, usual: float) -> float:
    return usual if given is None else given


def _check(given: Hyperparameters, named: NamedOptimizer) -> None:
    if given.nesterov and "nesterov" not in named.usual:
        raise ValueError(f"nesterov is True for {given.optimizer!r}; it must be False, except for scion and muon")
    require_in("lr", given.lr, 0, remedy="give the peak of the schedule")
    require_in("output_lr", _output_lr(given), 0, remedy="give the peak of the schedule")
    for name in ("momentum", "beta2"):
        value = getattr(given, name)
        if value is not None:
            require_in(name, value, 0, 1, include_low=True, remedy="PyTorch's convention is 0.9")
    _check_decay(given)


def _check_decay(given: Hyperparameters) -> None:
    names = ("weight_decay", "decay_per_step", "steady_norm_sq")
    chosen = [name for name in names if getattr(given, name) is not None]
    if len(chosen) != 1:
        said = " and ".join(f"{name}={getattr(given, name)!r}" for name in chosen) + " are given"
        wanted = "give exactly one of weight_decay, decay_per_step and steady_norm_sq"
        raise ValueError(f"{said if chosen else 'no decay is given'}; {wanted}")
    largest_lr = max(given.lr, _output_lr(given))
    if given.weight_decay is not None:
        remedy = f"multiplied by lr={largest_lr!r}, it is the share that a step removes"
        require_in("weight_decay", given.weight_decay, 0, 1 / largest_lr, include_low=True, remedy=remedy)
    if given.decay_per_step is not None:
        remedy = "it is the share that a step removes, lr · weight_decay"
        require_in("decay_per_step", given.decay_per_step, 0, 1, include_low=True, remedy=remedy)
