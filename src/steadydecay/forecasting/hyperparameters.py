"""The hyperparameters of a run that is only planned, and the parameter groups they make."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from steadydecay.groups.param_groups import param_groups
from steadydecay.groups.roles import ROLES, Output
from steadydecay.groups.settings import Group
from steadydecay.known_optimizers.update_momentum import AVERAGE, LION, NO_MOMENTUM, UpdateMomentum
from steadydecay.recipes.optimizers import ADAM_BETA2, LION_BETA2, MUON_ADAM_BETAS
from steadydecay.recipes.recipe import nearest
from steadydecay.theory.validation import require_in

GroupsOf = list[tuple[Group, UpdateMomentum]]


@final
@dataclass(frozen=True)
class Hyperparameters:
    """What a forecast needs to know; γ and η at the peak of the schedule.

    Attributes:
        optimizer: a key of `OPTIMIZERS`.
        lr: γ > 0.
        output_lr: γ of the output layer and embeddings (of all that is not hidden under Muon); None is `lr`.
        momentum: β, or β₁, in [0, 1); None is the optimizer's usual one.
        beta2: Lion's, in [0, 1); None is 0.99.
        nesterov: look ahead by one gradient (Scion; Muon always does).
        weight_decay: λ, times the lr of each layer; exactly one of it and the next two.
        decay_per_step: η in [0, 1), the same for every layer.
        steady_norm_sq: S, of every layer.
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
    """The model's parameter groups under these hyperparameters, each with how to read its momentum.

    Args:
        model: also on the meta device; only names and shapes are read.
        hyperparameters: checked here.
        overrides, output: as in `param_groups`.

    Raises:
        ValueError: an unknown optimizer, one whose norms no theory predicts, or a number outside its range.
    """
    name = hyperparameters.optimizer
    if name in UNPREDICTABLE:
        raise ValueError(f"optimizer is {name!r}, {UNPREDICTABLE[name]}; legal are {', '.join(OPTIMIZERS)}")
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer is {name!r}{nearest(name, OPTIMIZERS)}")
    _check(hyperparameters)
    return OPTIMIZERS[name](model, hyperparameters, overrides or {}, output)


def scion(model: nn.Module, given: Hyperparameters, overrides: dict[str, dict[str, Any]], output: Output) -> GroupsOf:
    groups = _groups(model, "scion", given, _lr_of_role(given), overrides, output)
    own = {"momentum": _momentum(given, 0.9), "nesterov": given.nesterov}
    return [(group | own, AVERAGE) for group in groups]


def adamw(model: nn.Module, given: Hyperparameters, overrides: dict[str, dict[str, Any]], output: Output) -> GroupsOf:
    _refuse_nesterov(given)
    groups = _groups(model, "adamw", given, _lr_of_role(given), overrides, output)
    return [(group | {"betas": (_momentum(given, 0.9), ADAM_BETA2)}, NO_MOMENTUM) for group in groups]


def lion(model: nn.Module, given: Hyperparameters, overrides: dict[str, dict[str, Any]], output: Output) -> GroupsOf:
    _refuse_nesterov(given)
    groups = _groups(model, "lion", given, _lr_of_role(given), overrides, output)
    betas = (_momentum(given, 0.9), LION_BETA2 if given.beta2 is None else given.beta2)
    return [(group | {"betas": betas}, LION) for group in groups]


def muon(model: nn.Module, given: Hyperparameters, overrides: dict[str, dict[str, Any]], output: Output) -> GroupsOf:
    """Hidden matrices as in `recipes.optimizers.muon`, all else under AdamW."""
    lr = {role: given.lr if role == "hidden" else _output_lr(given) for role in ROLES}
    groups = _groups(model, "muon", given, lr, overrides, output)
    own = {"momentum": _momentum(given, 0.95), "nesterov": True, "norm": {"name": "spectral", "scale": "max"}}
    hidden = [(group | own, AVERAGE) for group in groups if group["role"] == "hidden"]
    others = [(group | {"betas": MUON_ADAM_BETAS}, NO_MOMENTUM) for group in groups if group["role"] != "hidden"]
    return hidden + others


Build = Callable[[nn.Module, Hyperparameters, dict[str, dict[str, Any]], Output], GroupsOf]
# A correction changes the decay rule alone, and a forecast shows both rules.
OPTIMIZERS: dict[str, Build] = {"scion": scion, "scionc": scion, "adamw": adamw, "adamc": adamw}
OPTIMIZERS |= {"lion": lion, "lionc": lion, "muon": muon, "muonc": muon}
SIZE_BY_GRADIENT = "the size of whose updates is that of the gradients, which nothing tells before training"
UNPREDICTABLE: dict[str, str] = dict.fromkeys(("sgd", "sgdw", "sgdc"), SIZE_BY_GRADIENT)
UNPREDICTABLE |= dict.fromkeys(("adam", "adam_l2"), "whose L2 passes through the second moment and holds no norm")


def _groups(
    model: nn.Module,
    kind: str,
    given: Hyperparameters,
    lr: dict[Any, float],
    overrides: dict[str, dict[str, Any]],
    output: Output,
) -> list[Group]:
    groups = param_groups(
        model, kind, lr=lr, weight_decay=_weight_decay_of_role(given, lr), output=output, overrides=overrides
    )
    if given.steady_norm_sq is None:
        return groups
    is_decayed = {id(group): kind == "scion" or group["role"] != "vector" for group in groups}
    return [group | {"steady_norm_sq": given.steady_norm_sq} if is_decayed[id(group)] else group for group in groups]


def _lr_of_role(given: Hyperparameters) -> dict[Any, float]:
    return {role: _output_lr(given) if role in ("output", "embedding") else given.lr for role in ROLES}


def _weight_decay_of_role(given: Hyperparameters, lr: dict[Any, float]) -> dict[Any, float]:
    if given.weight_decay is not None:
        return dict.fromkeys(ROLES, given.weight_decay)
    return {role: (given.decay_per_step or 0.0) / lr[role] for role in ROLES}


def _output_lr(given: Hyperparameters) -> float:
    return given.lr if given.output_lr is None else given.output_lr


def _momentum(given: Hyperparameters, usual: float) -> float:
    return usual if given.momentum is None else given.momentum


def _check(given: Hyperparameters) -> None:
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
        what = " and ".join(f"{name}={getattr(given, name)!r}" for name in chosen) or "none"
        raise ValueError(f"of weight_decay, decay_per_step and steady_norm_sq there is {what}; legal is one of them")
    largest_lr = max(given.lr, _output_lr(given))
    if given.weight_decay is not None:
        remedy = f"lr={largest_lr!r} times it is what a step removes"
        require_in("weight_decay", given.weight_decay, 0, 1 / largest_lr, include_low=True, remedy=remedy)
    if given.decay_per_step is not None:
        remedy = "it is the fraction that a step removes, lr · weight_decay"
        require_in("decay_per_step", given.decay_per_step, 0, 1, include_low=True, remedy=remedy)


def _refuse_nesterov(given: Hyperparameters) -> None:
    if given.nesterov:
        raise ValueError(f"nesterov is True for {given.optimizer!r}; legal is False: it goes with scion and muon")
