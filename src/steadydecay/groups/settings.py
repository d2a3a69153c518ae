"""The settings of weight decay in a parameter group: defaults, references, and the decay of a step."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from steadydecay.groups.key_types import (
    KEYS_OF_ANY,
    NO_WEIGHT_CHANGED,
    as_pair,
    described,
    is_number,
    require_number,
    require_types,
)
from steadydecay.known_optimizers.known_optimizer import KnownOptimizer
from steadydecay.known_optimizers.update_momentum import AVERAGE, UpdateMomentum
from steadydecay.theory import MomentumFilter, Reference, effective_lr, reference_weight_decay, weight_decay
from steadydecay.theory.decay_rules import rule_named, unchecked_reference_weight_decay
from steadydecay.theory.validation import require_in

Group = dict[str, Any]
ReadsMomentum = UpdateMomentum | KnownOptimizer
PEAK = "set it to the lr at which weight_decay was chosen, the peak of the schedule"
# A schedule that ends at 0, such as torch's LinearLR, may fall this far below it by rounding.
ROUNDED_ZERO = -1e-9


def with_references(group: Mapping[str, Any], defaults: Mapping[str, Any], momentum: ReadsMomentum = AVERAGE) -> Group:
    """Return a copy of the group with every default filled in and its references fixed, after checking it.

    `reference_lr` is taken from the group's own `max_lr` (OneCycleLR), `initial_lr` (any scheduler) or `lr`, in that
    order. The output layer keeps a constant rule unless it names one (arXiv 2512.08217, Appendix D).

    Raises:
        ValueError: A value is not of the type in `KEY_TYPES`, a hyperparameter is out of range, or two exclude each
            other.
    """
    settings = {**defaults, **group}
    require_types({key: settings[key] for key in KEYS_OF_ANY if key in settings})
    if settings.get("role") == "output" and "decay" not in group:
        settings["decay"] = "constant"
    if settings.get("reference_lr") is None:
        settings["reference_lr"] = peak_lr(settings, settings["lr"])
    if settings.get("reference_momentum") is None:
        settings["reference_momentum"] = _plain(momentum.read(settings))
    _check(settings, momentum)
    return settings


def saved_arguments(defaults: Mapping[str, Any]) -> list[str]:
    """Return the constructor's arguments in a saved group; torch adds "differentiable" to them on loading."""
    return [key for key in defaults if key != "differentiable"]


def may_move(lr: float | Tensor | None) -> bool:
    """Return whether a step at this lr can change weights. A tensor is not read, which would wait for the device.

    None, which optimizers that find their own lr may hold, does not count as 0.
    """
    return isinstance(lr, Tensor) or lr != 0


def weight_decay_of(group: Mapping[str, Any], momentum: ReadsMomentum = AVERAGE) -> float:
    """Return λ of the next step of a group from `with_references`; it is a 0-d tensor if the lr or momentum is one."""
    reference_lr, start = group["reference_lr"], momentum.reference_of(group)
    # A group that was added at lr = 0 has no decay (`_check`), and no lr to which a ratio could be taken.
    rule = group["decay"] if reference_lr else "constant"
    # The correction writes λ of each step into weight_decay, and the coefficient at the reference into another key.
    reference_decay = group.get("reference_weight_decay", group["weight_decay"])
    steady_norm_sq = group.get("steady_norm_sq")
    if steady_norm_sq is not None:
        is_tensor = hasattr(steady_norm_sq, "fill_")
        inverse = unchecked_reference_weight_decay if is_tensor else reference_weight_decay
        reference_decay = inverse(steady_norm_sq, reference_lr, start, rule=rule)
    reference = Reference(reference_lr, reference_decay, start)
    return weight_decay(group["lr"], momentum.of(group), False, reference, rule)


def decay_of(group: Mapping[str, Any], momentum: ReadsMomentum = AVERAGE) -> float:
    """Return η = γλ of the next step, as in `weight_decay_of`."""
    return group["lr"] * weight_decay_of(group, momentum)


def weight_decay_of_step(group: Mapping[str, Any], momentum: ReadsMomentum, index: int) -> float:
    """Return `weight_decay_of` for a group whose numbers may have changed since it was added. Call it before weights
    move.

    A tensor on an accelerator is not read, which would wait for the device, nor is any tensor in a compiled step. There
    an illegal value reaches the weights.

    Args:
        group: A group from `with_references`.
        momentum: How its momentum is read.
        index: The index of the group in its optimizer, for the error.

    Raises:
        ValueError: The lr or weight_decay is not in [0, inf), a momentum is not in [0, 1) or has another form than its
            reference, or the decay η of the step is not in [0, 1).
    """
    require_in_step("lr", group["lr"], index, remedy="check the schedule or the loop that sets it")
    held = momentum.read(group)
    for value in held if isinstance(held, tuple | list) else (held,):
        require_in_step("momentum", value, index, 1, remedy="PyTorch's convention is 0.9")
    require_alike(held, group["reference_momentum"], f" of group {index}")
    _require_references_in_step(group, index)
    key = "reference_weight_decay" if "reference_weight_decay" in group else "weight_decay"
    require_in_step(key, group[key], index, remedy="0 is no decay")
    found = weight_decay_of(group, momentum)
    require_decay_in_step(group, found, index)
    return found


def _require_references_in_step(group: Mapping[str, Any], index: int) -> None:
    require_in_step("reference_lr", group["reference_lr"], index, remedy=PEAK)
    held = group["reference_momentum"]
    for value in held if isinstance(held, tuple | list) else (held,):
        require_in_step("reference_momentum", value, index, 1, remedy="give the momentum at the peak of the schedule")


def require_alike(momentum: Any, reference: Any, where: str = "") -> None:
    """Raise ValueError unless a momentum and its reference have the same form: one number, or two for Lion.

    Args:
        momentum: The momentum of a group, as `UpdateMomentum.read` returns it.
        reference: Its `reference_momentum`.
        where: The group, for the error.
    """
    first, second = (len(one) if isinstance(one, tuple | list) else 0 for one in (momentum, reference))
    if first != second or (not first and not hasattr(reference, "__float__")):
        found = f"reference_momentum{where} is {reference!r} while the momentum is {momentum!r}"
        raise ValueError(f"{found}; they must have the same form. Load a state of the same optimizer, or set both")


def require_numbers(group: Mapping[str, Any], index: int) -> None:
    """Raise ValueError unless the lr of any optimizer's group is in [0, inf) and no other number in it is NaN.

    Args:
        group: The group, whose tensors on an accelerator are not read. Its lr may be None in optimizers that find their
            own.
        index: The index of the group, for the error.
    """
    if group.get("lr") is not None:
        require_in_step("lr", group["lr"], index, remedy="check the schedule or the loop that sets it")
    for key, value in group.items():
        # Lists are not searched, because they hold a number or a name for each weight.
        if any(isinstance(one, float) and math.isnan(one) for one in (value if isinstance(value, tuple) else (value,))):
            remedy = "check the code that sets it"
            raise ValueError(f"{key} of group {index} is {value!r}; it must be a number: {remedy}. {NO_WEIGHT_CHANGED}")


def require_adam_numbers(group: Mapping[str, Any], index: int) -> None:
    """Raise ValueError unless the betas of a group of Adam are two numbers in [0, 1) and its eps is 0 or more."""
    betas = as_pair(group["betas"])
    if not isinstance(betas, tuple) or len(betas) != 2:
        legal = "it must be two numbers: the usual values are 0.9 and 0.999"
        raise ValueError(f"betas of group {index} is {betas!r}; {legal}. {NO_WEIGHT_CHANGED}")
    for number, beta in enumerate(betas):
        require_in_step(f"betas[{number}]", beta, index, 1, remedy="the usual values are 0.9 and 0.999")
    require_in_step("eps", group["eps"], index, remedy="the usual value is 1e-8")


def require_decay_in_step(group: Mapping[str, Any], weight_decay: Any, index: int) -> None:
    """Raise ValueError unless η = γλ of a step is in [0, 1) or a tensor. Above 1 the weights would change sign."""
    remedy = "it is the share of the weights that a step removes, so lower lr or weight_decay"
    require_in_step("lr · weight_decay", group["lr"] * weight_decay, index, 1, remedy=remedy)


def require_in_step(name: str, value: Any, index: int, high: float = math.inf, *, remedy: str) -> None:
    """Raise ValueError unless a number, or a 0-d tensor that can be read without waiting, is in [0, high).

    A rounding error below 0 counts as 0.
    """
    if isinstance(value, Tensor):
        # One on the meta device may belong to a step of meta weights, which estimates memory.
        if value.ndim or value.is_complex():
            shape = f"{described(value)}; it must be a number or a real 0-d tensor"
            raise ValueError(f"{name} of group {index} is {shape}. {NO_WEIGHT_CHANGED}")
        if not _is_readable(value):
            return
        value = value.detach().item()
    if not is_number(value) or not ROUNDED_ZERO <= value < high:
        legal = f"it must be in [0, {high}): {remedy}"
        raise ValueError(f"{name} of group {index} is {value!r}; {legal}. {NO_WEIGHT_CHANGED}")


def _is_readable(value: Tensor) -> bool:
    """Whether a tensor's entry can be had without waiting for a device, and outside of a graph."""
    return not torch.compiler.is_compiling() and value.device.type == "cpu" and type(value) in (Tensor, Parameter)


def peak_lr(group: Mapping[str, Any], otherwise: Any, asked: float | None = None) -> float:
    """Return the largest lr of the group's schedule, from the keys that its scheduler has left or from `asked`."""
    known = (group.get("max_lr"), asked, group.get("initial_lr"), otherwise)
    return float(next(value for value in known if value is not None))


def _plain(hyperparameter: Any) -> Any:
    """Return a copy as Python numbers, because a scheduler may fill a tensor in place later."""
    values = hyperparameter if isinstance(hyperparameter, tuple | list) else (hyperparameter,)
    for value in values:
        require_number("momentum", value)
    return tuple(map(float, values)) if isinstance(hyperparameter, tuple | list) else float(hyperparameter)


def _check(settings: Mapping[str, Any], momentum: ReadsMomentum) -> None:
    require_in("lr", float(settings["lr"]), 0, include_low=True)
    _check_momentum("momentum", momentum.read(settings))
    require_alike(momentum.read(settings), settings["reference_momentum"])
    _check_momentum("reference_momentum", settings["reference_momentum"])
    require_in("weight_decay", float(settings["weight_decay"]), 0, include_low=True)
    rule_named(settings["decay"])
    require_in("reference_lr", float(settings["reference_lr"]), 0, include_low=True, remedy=PEAK)
    if settings.get("steady_norm_sq") is not None:
        _check_steady_norm(settings, momentum.reference_of(settings))
    has_decay = settings["weight_decay"] > 0 or settings.get("steady_norm_sq") is not None
    if has_decay and settings["decay"] != "constant":
        require_in("reference_lr", settings["reference_lr"], 0, remedy=PEAK)
    decay_at_reference = settings["reference_lr"] * float(settings["weight_decay"])
    require_in("reference_lr · weight_decay", decay_at_reference, 0, 1, include_low=True, remedy="lower weight_decay")


def _check_momentum(name: str, hyperparameter: Any) -> None:
    values = hyperparameter if isinstance(hyperparameter, tuple | list) else (hyperparameter,)
    for value in values:
        require_number(name, value)
        require_in(name, float(value), 0, 1, include_low=True, remedy="PyTorch's convention is 0.9")


def _check_steady_norm(settings: Mapping[str, Any], start: MomentumFilter) -> None:
    if settings["weight_decay"] != 0:
        both = f"steady_norm_sq={settings['steady_norm_sq']!r} and weight_decay={settings['weight_decay']!r}"
        raise ValueError(f"{both} both set the decay; pass only one of them")
    lr = settings["reference_lr"]
    require_in("reference_lr", lr, 0, remedy="steady_norm_sq needs the lr to which it refers")
    lowest, remedy = lr**2 * start.scale_sq, "it is E‖θ‖²/E‖u‖², which a single step already brings to lr²"
    half_effective = effective_lr(lr, start) ** 2 / 2
    if settings["decay"] == "corrected" and half_effective > lowest:
        lowest, remedy = half_effective, "its decay γ_eff²/(2S) must stay below 1, so raise it, lower lr or use 'exact'"
    require_in("steady_norm_sq", settings["steady_norm_sq"], lowest, remedy=remedy)
