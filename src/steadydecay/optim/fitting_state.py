"""Keep state that fits the weights after a load, a cast of the model, or an exchange of parameters."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from torch import Tensor

from steadydecay.groups.settings import Group
from steadydecay.groups.weight_names import weight_names
from steadydecay.parallel.cuts import Cut, brought_to, is_laid_out
from steadydecay.tensors.legal_state import require_like_weight, require_one_number
from steadydecay.tensors.low_precision import keeps_compensation

State = MutableMapping[str, Any]
# Creates the state of a parameter of a group before its first step.
Begin = Callable[[Tensor, Group], dict[str, Any]]

_dtype_of = attrgetter("dtype")


class StateKeys(NamedTuple):
    """What the state of a parameter holds, besides its compensation.

    Attributes:
        like_weight: Tensors of the shape, dtype and device of the weight, which depend on its past.
        others: 0-d tensors that depend on its past.
        measures: 0-d tensors that may start anew at any step.
    """

    like_weight: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()


# Returns the keys that the state of a parameter of a group holds.
KeysOf = Callable[[Group], StateKeys]


def fingerprint(groups: Sequence[Group], states: Mapping[Tensor, Any]) -> list[Any]:
    """Return what changes with every cast, move, exchange of parameters and loss of state, so that equality shows no
    change.

    A model may be cast in part, but it moves as a whole, so for other things than dtypes the first and last parameter
    of a group suffice. Looking at the state of each parameter would take ten times as long, which matters for 10⁴ small
    weights.
    """
    ends = [(*group["params"][:1], *group["params"][-1:]) for group in groups]
    return [
        len(states),
        sum(map(len, states.values())),
        [(group.get("low_precision"), group.get("amsgrad"), group.get("memory_light")) for group in groups],
        [(id(parameter), parameter.device) for of_group in ends for parameter in of_group],
        [list(map(_dtype_of, group["params"])) for group in groups],
    ]


def require_fitting(groups: Sequence[Group], states: Mapping[Tensor, State], keys_of: KeysOf) -> None:
    """Raise an error for state that no step could use. A parameter without any state is legal and starts anew, as in
    torch.

    Raises:
        ValueError: A tensor is missing although others are present, is not a tensor, or has a shape that no step could
            use.
    """
    for index, group in enumerate(groups):
        keys = keys_of(group)
        for name, parameter in zip(weight_names(group, index), group["params"], strict=True):
            _require_fitting(states.get(parameter) or {}, parameter, keys, name)


def refit(
    groups: Sequence[Group],
    states: MutableMapping[Tensor, State],
    keys_of: KeysOf,
    begin: Begin,
    cuts: Mapping[Tensor, Cut],
) -> bool:
    """Bring state to the dtype, device and layout of the weights, add what is missing, and return whether any changed.

    Args:
        groups, states: Those of the optimizer, which `require_fitting` has accepted.
        keys_of, begin: Which state each parameter must have.
        cuts: How the sharded weights are cut over ranks.
    """
    has_changed = False
    for group in groups:
        keys = keys_of(group)
        for parameter in group["params"] if keys.like_weight else ():
            held = states.get(parameter) or {}
            cut = cuts.get(parameter) if cuts else None
            if not _fits(held, parameter, keys, group, cut):
                refitted = _refitted(held, begin(parameter, group), parameter, keys, cut)
                # Change it in place, because an optimizer that holds this one may share its state.
                kept = states.setdefault(parameter, {})
                kept.clear()
                kept.update(refitted)
                has_changed = True
    return has_changed


def _require_fitting(held: Mapping[str, Any], parameter: Tensor, keys: StateKeys, name: str) -> None:
    missing = [key for key in (*keys.like_weight, *keys.others) if held and held.get(key) is None]
    if missing:
        there = f"it only has {', '.join(map(repr, held))}"
        remedy = "Load a state of the same optimizer, or none for this parameter, which then starts anew"
        raise ValueError(f"the state of {name} lacks {', '.join(map(repr, missing))}; {there}. {remedy}")
    for key in (*keys.like_weight, "compensation"):
        if key in held:
            require_like_weight(held[key], parameter, key, name)
    for key in keys.others:
        if key in held and not isinstance(held[key], int | float):
            require_one_number(held[key], key, name)
    for key in keys.measures:
        if key in held:
            require_one_number(held[key], key, name)


def _fits(held: Mapping[str, Any], parameter: Tensor, keys: StateKeys, group: Group, cut: Cut | None) -> bool:
    has_all = all(key in held for key in (*keys.like_weight, *keys.others, *keys.measures))
    is_compensated = "compensation" in held
    if not has_all or is_compensated != keeps_compensation(parameter, group["low_precision"]):
        return False
    alike = (*keys.like_weight, "compensation") if is_compensated else keys.like_weight
    return all(_is_alike(held[key], parameter, cut) for key in alike)


def _is_alike(held: Tensor, parameter: Tensor, cut: Cut | None) -> bool:
    is_cast = held.dtype == parameter.dtype and held.device == parameter.device
    return is_cast and is_laid_out(held, parameter, cut)


def _refitted(held: State, begun: State, parameter: Tensor, keys: StateKeys, cut: Cut | None) -> State:
    kept = {key: value for key, value in held.items() if key != "compensation"}
    cast = {
        key: brought_to(held[key].to(parameter.device, parameter.dtype), parameter, cut)
        for key in keys.like_weight
        if key in held
    }
    remainder = held.get("compensation")
    # The unit of the compensation depends on the dtype.
    if remainder is not None and "compensation" in begun and remainder.dtype == parameter.dtype:
        cast["compensation"] = brought_to(remainder.to(parameter.device), parameter, cut)
    return {**begun, **kept, **cast}
