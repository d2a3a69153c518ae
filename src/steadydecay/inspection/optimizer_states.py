"""States of optimizers, known by their shape wherever a checkpoint keeps them."""

from collections.abc import Iterator, Mapping
from typing import Any

from steadydecay.known_optimizers.table import KNOWN_OPTIMIZERS

State = Mapping[str, Any]
# Containers of containers: a checkpoint of several optimizers is rarely deeper than 4.
DEEPEST = 10
# What optimizers call the averages that they keep for each weight, as far as no module's name is like it.
AVERAGES = {"exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "exp_inf"} | {
    name for known in KNOWN_OPTIMIZERS.values() for name in known.second_moments
}
# torch.distributed.checkpoint.state_dict with flatten_optimizer_state_dict=True.
FLAT_STATE, FLAT_GROUPS = "state.", "param_groups."


def optimizer_states(content: Any) -> list[State]:
    """The state dicts of optimizers in a checkpoint, or the one that it is; nothing is copied."""
    return list(_found(content, DEEPEST, set()))


def holds_state(content: Any) -> bool:
    """Whether something is an optimizer's state itself, whatever its key: with groups, or what it keeps of weights."""
    if not isinstance(content, Mapping):
        return False
    return _has_groups(content) or _is_flat(content) or _is_by_weight(content) or _is_by_weight(content.get("state"))


def _found(content: Any, depth: int, seen: set[int]) -> Iterator[State]:
    if depth == 0 or id(content) in seen or not isinstance(content, Mapping | list | tuple):
        return
    # A hostile container may hold itself, or the next one many times over.
    seen.add(id(content))
    if isinstance(content, Mapping) and _has_groups(content):
        yield content
    elif isinstance(content, Mapping) and _is_flat(content):
        yield _unflattened(content)
    else:
        for value in content.values() if isinstance(content, Mapping) else content:
            yield from _found(value, depth - 1, seen)


def _has_groups(content: State) -> bool:
    return isinstance(content.get("param_groups"), list | tuple)


def _is_flat(content: State) -> bool:
    return bool(_keys(content, FLAT_GROUPS)) and all(_starts(key, (FLAT_STATE, FLAT_GROUPS)) for key in content)


def _is_by_weight(content: Any) -> bool:
    """A mapping from numbers or names of weights to mappings of averages; modules are numbered by text."""
    if not isinstance(content, Mapping) or not content:
        return False
    if not all(isinstance(one, Mapping) for one in content.values()):
        return False
    return any(AVERAGES & one.keys() for one in content.values()) or all(isinstance(key, int) for key in content)


def _unflattened(content: State) -> State:
    state: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[str, Any]] = {}
    for start, found in ((FLAT_STATE, state), (FLAT_GROUPS, groups)):
        for key in _keys(content, start):
            name, _, field = key.removeprefix(start).rpartition(".")
            found.setdefault(name, {})[field] = content[key]
    return {"state": state, "param_groups": [group | {"params": [name]} for name, group in groups.items()]}


def _keys(content: State, start: str) -> list[str]:
    return [key for key in content if _starts(key, (start,))]


def _starts(key: Any, starts: tuple[str, ...]) -> bool:
    return isinstance(key, str) and key.startswith(starts)
