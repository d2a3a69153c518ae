"""The table of known optimizers, and how the entry of an optimizer's group is found in it.

The entries were read from the sources of torch 2.13, transformers 5.23, timm 1.0.31, pytorch_optimizer 4.1, heavyball
3.2, optimi 0.3.3, Emerging-Optimizers 0.3, and Dion's and torchtitan's of November 2026. `tests/known_optimizers/`
compares each entry with the real class on noise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from steadydecay.known_optimizers.known_optimizer import KnownOptimizer, SizedBy
from steadydecay.known_optimizers.update_momentum import (
    AVERAGE,
    HEAVY_BALL,
    LION,
    NO_MOMENTUM,
    UpdateMomentum,
    average_in,
    heavy_ball_sum,
    lion_in,
    share_in,
)
from steadydecay.known_optimizers.wrappers import held_optimizers, owner_of
from steadydecay.theory.filters import nesterov_average

ADAM = KnownOptimizer("Adam", "second moment", NO_MOMENTUM, smoothing=average_in("betas", 0), momentum_state="exp_avg")
ADAMW = replace(
    ADAM,
    title="AdamW",
    second_moments=("max_exp_avg_sq", "exp_avg_sq"),
    group_keys=(frozenset({"betas", "eps"}), frozenset({"ns_steps"})),
)
TORCH_ADAM = replace(ADAMW, title="Adam", decay="l2", group_keys=None, instead="torch.optim.AdamW")
MUON = KnownOptimizer(
    "Muon",
    "polar factor",
    AVERAGE,
    momentum_state="momentum_buffer",
    group_keys=(frozenset({"ns_steps", "momentum"}), frozenset()),
)
# Dion's groups keep Muon's momentum under "mu", as a sum, and the betas of AdamW and Lion in two keys.
DION_MUON = replace(
    MUON, momentum=average_in("mu"), momentum_state="momentum", momentum_state_holds="sum", group_keys=None
)
DION_LION = KnownOptimizer("Lion", "sign", lion_in("beta1", "beta2"), momentum_state="momentum")
SCION = KnownOptimizer(
    "Scion", "norm", AVERAGE, momentum_state="momentum", group_keys=(frozenset({"norm", "momentum"}), frozenset())
)
LION_ENTRY = KnownOptimizer(
    "Lion", "sign", LION, momentum_state="exp_avg", group_keys=(frozenset({"betas"}), frozenset({"eps"}))
)
SGDW_ENTRY = KnownOptimizer(
    "SGDW", "gradient", HEAVY_BALL, momentum_state="momentum_buffer", momentum_state_holds="sum"
)
OUR_SGDW = replace(SGDW_ENTRY, momentum_state="momentum")
SGD = replace(
    SGDW_ENTRY,
    title="SGD",
    decay="l2",
    group_keys=(frozenset({"momentum"}), frozenset({"betas", "eps"})),
    instead="steadydecay.SGDW, or torch.optim.AdamW",
)


def _coupled(title: str, sized_by: SizedBy = "second moment", instead: str = "torch.optim.AdamW") -> KnownOptimizer:
    """Return the entry of an optimizer that adds λθ to the gradient and whose momentum no filter here describes."""
    return KnownOptimizer(title, sized_by, None, decay="l2", instead=instead)


# Entries are found by class name, or by `package.name` where packages differ.
KNOWN_OPTIMIZERS: dict[str, KnownOptimizer] = {
    # Updates sized by the second moment.
    "torch.Adam": TORCH_ADAM,
    "torch.AdamW": ADAMW,
    **dict.fromkeys(("ADOPT", "Adopt", "AdaBelief", "Adam", "AdamC", "AdamW", "AdamWLegacy", "LaProp"), ADAM),
    **dict.fromkeys(("RAdam", "SOAP", "StableAdamW"), ADAM),
    "NAdamW": replace(ADAM, smoothing=average_in("betas", 0)._replace(filter=lambda beta, _: nesterov_average(beta))),
    "optimi.AdamW": replace(ADAM, smoothing=average_in("beta1")),
    "optimi.Adam": replace(ADAM, smoothing=average_in("beta1")),
    "optimi.RAdam": replace(ADAM, smoothing=average_in("beta1")),
    "optimi.StableAdamW": replace(ADAM, smoothing=average_in("beta1")),
    "transformers.Adafactor": replace(ADAM, smoothing=average_in("beta1")),
    "AdafactorBigVision": replace(ADAM, smoothing=average_in("momentum")),
    # A step that is proportional to the weight's own size, and a momentum that the optimizer schedules itself.
    **dict.fromkeys(("AdaFactor", "Adafactor"), replace(ADAM, sized_by="other", smoothing=None)),
    "NAdam": replace(ADAM, sized_by="other"),
    "steadydecay.AdamC": replace(ADAMW, title="AdamC", group_keys=None),
    "heavyball.AdamC": replace(ADAM, title="AdamC", decay="corrected", instead="heavyball.AdamW, or no correction"),
    # Updates sized by the polar factor.
    "Muon": MUON,
    "NorMuon": MUON,
    "torchtitan.DistributedMuon": MUON,
    "dion.Muon": DION_MUON,
    "dion.NorMuon": DION_MUON,
    "pytorch_optimizer.AdaMuon": replace(MUON, title="AdaMuon", momentum=average_in("betas", 0), group_keys=None),
    "heavyball.Muon": replace(MUON, momentum=average_in("betas", 0), group_keys=None),
    # Updates sized by the norm of each group.
    "steadydecay.Scion": SCION,
    "pytorch_optimizer.SCION": replace(SCION, momentum=share_in("momentum"), momentum_state="d", group_keys=None),
    # Updates sized by the sign of each entry.
    "Lion": LION_ENTRY,
    "steadydecay.Lion": replace(LION_ENTRY, momentum_state="momentum"),
    "optimi.Lion": replace(LION_ENTRY, momentum=lion_in("beta1", "beta2"), group_keys=None),
    # Updates sized by the gradient alone.
    "SGDW": SGDW_ENTRY,
    "steadydecay.SGDW": OUR_SGDW,
    "torch.SGD": SGD,
    # Their decay is L2.
    "torch.ASGD": _coupled("ASGD", "gradient", "torch.optim.AdamW, or steadydecay.SGDW"),
    "torch.Adadelta": _coupled("Adadelta"),
    "torch.Adagrad": _coupled("Adagrad"),
    "torch.Adamax": _coupled("Adamax", instead="torch.optim.AdamW, or NAdam(decoupled_weight_decay=True)"),
    "torch.RMSprop": _coupled("RMSprop"),
}
# Group keys by which a Muon passes a group on to its AdamW or its Lion.
HANDED_OVER: tuple[tuple[str, Any, KnownOptimizer], ...] = (
    ("use_muon", False, ADAM),
    ("use_fallback", True, ADAM),
    ("algorithm", "adamw", ADAM),
    ("algorithm", "lion", DION_LION),
)
# Entries of classes that a user has registered. They take precedence over the table.
_REGISTERED: dict[type, KnownOptimizer] = {}


def known_optimizer(optimizer: Any, group: Mapping[str, Any]) -> KnownOptimizer | None:
    """Return the entry for one group of an optimizer, or None if neither its class nor any base class is known.

    The entry has no momentum if a class of a known name stores it elsewhere, or under dampening, which makes SGD
    neither the sum nor the average.
    """
    known = _entry_of_group(optimizer, group)
    return None if known is None else _with_momentum_of(optimizer, group, known)


def why_momentum_is_unknown(optimizer: Any, group: Mapping[str, Any]) -> str:
    """Return a clause that says why the group has no entry, or one without momentum; "" if it has both."""
    name, known = type(optimizer).__name__, _entry_of_group(optimizer, group)
    if known is None:
        return f"{name} is not in steadydecay.known_optimizers"
    if known.momentum is None:
        return f"no filter of {name}'s momentum is known"
    if _is_dampened(known.momentum, group):
        return f"dampening={group['dampening']!r} also scales the effective learning rate of {name}"
    if fault := _fault_in_reading(known.momentum, group):
        keys = ", ".join(repr(key) for key in group if key != "params")
        return (
            f"{name}'s momentum cannot be read as its entry in steadydecay.known_optimizers says ({fault} among {keys})"
        )
    return ""


def recognised_optimizer(group: Mapping[str, Any]) -> KnownOptimizer | None:
    """Return the entry that the keys of a group in a state dict identify, or None if they identify none."""
    signed = ((known, known.group_keys) for known in KNOWN_OPTIMIZERS.values() if known.group_keys)
    fits = (known for known, (has, has_not) in signed if has <= group.keys() and not has_not & group.keys())
    return next(fits, None)


def register(optimizer_class: type, known: KnownOptimizer) -> None:
    """Give a class, and the classes derived from it, this entry."""
    _REGISTERED[optimizer_class] = known


def class_names(optimizer: Any) -> Iterator[str]:
    """Yield `package.name` and the name of the optimizer's class and of its base classes, nearest first."""
    for parent in type(optimizer).__mro__:
        yield from _names_of(parent)


def _entry_of_group(optimizer: Any, group: Mapping[str, Any]) -> KnownOptimizer | None:
    known = _entry_of_class(optimizer) or _entry_within(optimizer, group)
    if known is None or known.sized_by != "polar factor":
        return known
    return next((other for key, value, other in HANDED_OVER if group.get(key) == value), known)


def _entry_of_class(optimizer: Any) -> KnownOptimizer | None:
    for parent in type(optimizer).__mro__:
        if parent in _REGISTERED:
            return _REGISTERED[parent]
        found = next((KNOWN_OPTIMIZERS[name] for name in _names_of(parent) if name in KNOWN_OPTIMIZERS), None)
        if found is not None:
            return found
    return None


def _entry_within(optimizer: Any, group: Mapping[str, Any]) -> KnownOptimizer | None:
    """Return the entry of an optimizer inside an unknown one: the only one, or the one that has the group."""
    known, seen = None, set[int]()
    while known is None and id(optimizer) not in seen:
        seen.add(id(optimizer))
        held = held_optimizers(optimizer)
        optimizer = held[0] if len(held) == 1 else owner_of(optimizer, group) if held else optimizer
        known = _entry_of_class(optimizer)
    return known


def _names_of(optimizer_class: type) -> tuple[str, str]:
    return f"{optimizer_class.__module__.partition('.')[0]}.{optimizer_class.__name__}", optimizer_class.__name__


def _with_momentum_of(optimizer: Any, group: Mapping[str, Any], known: KnownOptimizer) -> KnownOptimizer:
    momentum = known.momentum
    if momentum is None:
        return known
    if _is_dampened(momentum, group) or _fault_in_reading(momentum, group):
        return replace(known, momentum=None)
    # Emerging-Optimizers store it on the object.
    nesterov = getattr(optimizer, "nesterov", None)
    if "nesterov" in group or not isinstance(nesterov, bool):
        return known
    with_nesterov = momentum._replace(
        filter=lambda value, _: momentum.filter(value, nesterov),
        momentum_for=lambda wanted, lr, _: momentum.momentum_for(wanted, lr, nesterov),
    )
    return replace(known, momentum=with_nesterov)


def _is_dampened(momentum: UpdateMomentum, group: Mapping[str, Any]) -> bool:
    return momentum.filter is heavy_ball_sum and group.get("dampening", 0) != 0


def _fault_in_reading(momentum: UpdateMomentum, group: Mapping[str, Any]) -> str:
    try:
        momentum.read(group)
    except (LookupError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
