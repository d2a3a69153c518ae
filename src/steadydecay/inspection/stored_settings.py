"""Hyperparameters from the optimizer states of a checkpoint: which group moves which weight, at which lr.

A state dict does not name its optimizer's class; the keys of its groups give it away.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from itertools import chain
from typing import Any, Literal

from torch import Tensor

from steadydecay.groups.settings import peak_lr
from steadydecay.inspection.layer_settings import LayerSettings, checked_settings
from steadydecay.inspection.plain_names import plain_name
from steadydecay.inspection.stored_weight import StoredWeight, is_plain, number_of
from steadydecay.known_optimizers.decay_action import decay_action
from steadydecay.known_optimizers.known_optimizer import KnownOptimizer
from steadydecay.known_optimizers.table import recognised_optimizer

At = Literal["peak", "now"]
# Of a list or dict among the hyperparameters, such as the sizes of the matrices in one weight.
MOST_ENTRIES = 1024
PEAK_KEYS = ("reference_lr", "max_lr", "initial_lr")
Group = Mapping[str, Any]


def stored_settings(
    states: Iterable[Mapping[str, Any]], weights: Iterable[StoredWeight], at: At
) -> dict[str, LayerSettings]:
    """The settings of each weight that a stored group moves, by its name in the file.

    A group's weights are known by name, as far as names tell them apart; without any by the shapes of its state, as
    far as no other group with other settings has the same shape. Before the first step there is no state: then groups
    that agree, and move as many weights as there are, move all.

    Args:
        states: state dicts of optimizers: anything, because files may hold anything.
        weights: of the model.
        at: "peak": the lr where weight_decay was chosen (`reference_lr`, `max_lr`, `initial_lr`, else lr); "now": lr.
    """
    groups = [(group, state.get("state")) for state in states for group in groups_of(state)]
    weights = list(weights)
    settings = [_settings(group, at) for group, _ in groups]
    fitting = _by_name(groups, weights) or _by_shape(groups, weights) or _by_number(groups, weights)
    return {
        weight.name: checked_settings(settings[indices[0]], weight.shape)
        for weight, indices in zip(weights, fitting, strict=False)
        if indices and all(settings[i] == settings[indices[0]] for i in indices)
    }


def _by_name(groups: list[tuple[Group, Any]], weights: list[StoredWeight]) -> list[list[int]]:
    """The groups that name each weight; empty where none names any."""
    named: dict[str, list[int]] = {}
    for i, (group, _) in enumerate(groups):
        for name in _names(group):
            named.setdefault(plain_name(str(name)), []).append(i)
    names = [[plain_name(name) for name in (one.name, *one.tied)] for one in weights]
    if not any(name in named for of_one in names for name in of_one):
        names = [[_inner_name(of_one[0], named)] for of_one in names]
        counts = Counter(of_one[0] for of_one in names)
        # Two networks whose weights have the same names within them.
        names = [of_one if counts[of_one[0]] == 1 else [] for of_one in names]
    found = [[i for name in of_one for i in named.get(name, ())] for of_one in names]
    return found if any(found) else []


def _inner_name(name: str, known: Container[str]) -> str:
    """The longest end of a dotted name that is known: the checkpoint may keep the model under a key of its own."""
    parts = name.split(".")
    return next((end for k in range(len(parts)) if (end := ".".join(parts[k:])) in known), "")


def _by_shape(groups: list[tuple[Group, Any]], weights: list[StoredWeight]) -> list[list[int]]:
    """The groups whose state has the shape of each weight; empty where there is no state.

    None where more weights than the groups can move have the shape: an EMA's copies, a teacher, frozen layers.
    """
    shapes = [_shapes(group, state) for group, state in groups]
    if not any(shapes):
        return []
    moved = Counter(chain.from_iterable(shapes))
    without_state = number_moved(group for group, _ in groups) - moved.total()
    here = Counter(one.shape for one in weights)
    is_clear = {shape: count <= moved[shape] + without_state for shape, count in here.items()}
    return [[i for i, known in enumerate(shapes) if one.shape in known and is_clear[one.shape]] for one in weights]


def _by_number(groups: list[tuple[Group, Any]], weights: list[StoredWeight]) -> list[list[int]]:
    """All groups for each weight, where they move as many as there are."""
    is_all = number_moved(group for group, _ in groups) == len(weights)
    return [list(range(len(groups)))] * len(weights) if is_all else []


def number_moved(groups: Iterable[Group]) -> int:
    """How many weights groups move."""
    return sum(len(_listed(group, "params")) for group in groups)


def names_of_moved(states: Iterable[Mapping[str, Any]]) -> set[str]:
    """Plain names of the weights that stored groups move, as far as they name them."""
    return {plain_name(str(name)) for state in states for group in groups_of(state) for name in _names(group)}


def groups_of(state: Mapping[str, Any]) -> list[Group]:
    """The groups of a state."""
    return [group for group in state["param_groups"] if isinstance(group, Mapping)]


def _settings(group: Group, at: At) -> LayerSettings:
    plain = {str(key): _plain(value) for key, value in group.items() if key not in ("params", "param_names")}
    known = recognised_optimizer(plain)
    if refusal := _refusal(plain, known):
        return LayerSettings(known, plain, refusal=refusal)
    if at == "now":
        is_over = "the lr in the file is 0, where nothing moves; use --at peak for a steady state"
        return LayerSettings(known, plain, "in the file", refusal="" if plain["lr"] else is_over)
    source = next((key for key in PEAK_KEYS if plain.get(key) is not None), "lr")
    peak = plain.get("reference_lr") or peak_lr(plain, plain["lr"])
    told = "in the file" if peak == plain["lr"] else f"{source}, the peak; {plain['lr']:.3g} in the file"
    return LayerSettings(known, plain | {"lr": peak} | _momentum_at_peak(plain), told, plain["lr"])


def _refusal(group: Group, known: KnownOptimizer | None) -> str:
    if known is None:
        return f"the keys of its group match no known optimizer ({', '.join(sorted(map(str, group))[:5])})"
    if known.sized_by == "gradient":
        return f"the size of {known.title}'s updates depends on the gradients"
    if not all(isinstance(group.get(key), int | float) for key in ("lr", "weight_decay")):
        return "its group has no lr or no weight_decay"
    if peak := next((key for key in PEAK_KEYS if not isinstance(group.get(key), int | float | None)), ""):
        return f"its {peak} is not a number"
    if rule := group.get("decay_replacement"):
        return f"{rule} takes the place of the decay"
    if decay_action(None, group).action != "decoupled":
        return "its decay is not lr · weight_decay independent of the gradient"
    return ""


def _momentum_at_peak(group: Group) -> dict[str, Any]:
    reference = group.get("reference_momentum")
    if reference is None:
        return {}
    return {"betas" if isinstance(reference, tuple | list) else "momentum": reference}


def _plain(value: Any, depth: int = 2) -> Any:
    """Without tensors, but for the number in one, and no larger than a hyperparameter is; None for all else."""
    if isinstance(value, str | bool):
        return value
    is_small = isinstance(value, tuple | list | Mapping) and depth > 0 and len(value) <= MOST_ENTRIES
    if is_small and isinstance(value, Mapping):
        return {key: _plain(one, depth - 1) for key, one in value.items()}
    return tuple(_plain(one, depth - 1) for one in value) if is_small else _number(value)


def _number(value: Any) -> float | None:
    """NaN and infinity too: what makes of them a refusal is said elsewhere."""
    return value if isinstance(value, float) else number_of(value)


def _listed(group: Group, key: str) -> list[Any]:
    listed = group.get(key)
    return list(listed) if isinstance(listed, list | tuple) else []


def _names(group: Group) -> list[Any]:
    """Names of the group's weights; torch.distributed.checkpoint has them in place of numbers."""
    return _listed(group, "param_names") or [name for name in _listed(group, "params") if isinstance(name, str)]


def _shapes(group: Group, state: Any) -> list[tuple[int, ...]]:
    """Shapes of the group's weights, as the largest tensor of each one's state has it."""
    indices = [one for one in _listed(group, "params") if isinstance(one, int | str)]
    of_each = [state.get(index) for index in indices] if isinstance(state, Mapping) else []
    states = [one.values() for one in of_each if isinstance(one, Mapping)]
    tensors = [[t for t in one if isinstance(t, Tensor) and is_plain(t)] for one in states]
    return [tuple(max(one, key=Tensor.numel).shape) for one in tensors if one]
