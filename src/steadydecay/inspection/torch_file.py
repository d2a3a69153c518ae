"""What a file of torch.save holds: weights and steps."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor

from steadydecay.inspection.foreign_files import foreign_content
from steadydecay.inspection.optimizer_states import holds_state, optimizer_states
from steadydecay.inspection.stored_weight import READABLE_TYPES, StoredWeight, is_floating, is_plain, number_of
from steadydecay.inspection.torch_loading import mapped

# Where training scripts put the weights: ours, torch's tutorial, Lightning and timm, DeepSpeed, others.
WEIGHT_KEYS = ("model", "state_dict", "model_state_dict", "module", "weights", "params")
STEP_KEYS = ("step", "global_step", "iteration", "iter_num")
# A state dict of state dicts is rarely deeper than 3.
DEEPEST = 10
# Weights are under a usual key if a tenth of all matrices are: beside them may be copies, and other models.
LEAST_SHARE = 10
# A flat buffer, its views and their transposes are 3 times as many bytes as are stored.
MOST_OVERLAP = 8


def listed_weights(content: Any, path: Path) -> tuple[list[StoredWeight], list[str]]:
    """The floating-point tensors in what `load` returned, tied ones once, and the names of its other tensors.

    Raises:
        ValueError: no tensor in it.
    """
    tensors = state_dict_of(content, path)
    weights: dict[Any, StoredWeight] = {}
    for name, tensor in tensors.items():
        if _is_floating(tensor) and _has_values(tensor):
            dtype = READABLE_TYPES[tensor.dtype]
            place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride())
            first = weights.setdefault(place, StoredWeight(name, tuple(tensor.shape), dtype))
            weights[place] = first if first.name == name else first._replace(tied=(*first.tied, name))
    found = list(weights.values())
    _require_own_values(found, tensors, path)
    listed = {name for one in found for name in (one.name, *one.tied)}
    return found, [name for name in tensors if name not in listed]


def opened(path: Path) -> Callable[[str], Tensor]:
    """A mapped file mapped anew, as a function from name to tensor; unmapped when that and its tensors are gone."""
    return tensors_by_name(mapped(path), path)


def tensors_by_name(content: Any, path: Path) -> Callable[[str], Tensor]:
    """What `load` returned as a function from name to tensor."""
    tensors = state_dict_of(content, path)
    return lambda name: tensors[name].detach()


def state_dict_of(content: Any, path: Path) -> dict[str, Tensor]:
    """Every tensor of the model by name; nothing of an optimizer.

    Raises:
        ValueError: no tensor in it.
    """
    if isinstance(content, Mapping):
        holder = _key_of_weights(content)
        of_model = content[holder] if holder is not None else _without_measurements(content)
        if tensors := dict(_flat(of_model)):
            return tensors
    of_items = content if isinstance(content, list | tuple) else ()
    if any(isinstance(one, Mapping) and any(_flat(one)) for one in of_items):
        kind = type(content).__name__
        raise ValueError(f"{path} contains a {kind}; save a dict with names: {{'model': model.state_dict(), ...}}")
    if told := foreign_content(content, path):
        raise ValueError(f"{path} {told}")
    if optimizer_states(content) or holds_state(content):
        raise ValueError(f"{path} contains the state of an optimizer but no weights; give the model's file beside it")
    raise ValueError(f"{path} contains a {type(content).__name__} without a named tensor; save model.state_dict()")


def keys_elsewhere(content: Any) -> list[str]:
    """Where a checkpoint holds floating-point tensors of which `state_dict_of` takes none: copies, other models."""
    if not isinstance(content, Mapping):
        return []
    holder = _key_of_weights(content)
    if holder is not None:
        others = [key for key in content if key != holder]
    else:
        others = content.keys() - _without_measurements(content).keys()
    return [str(key) for key in content if key in others and any(_is_floating(t) for _, t in _flat(content[key]))]


def steps_of(content: Any) -> int | None:
    """Steps that the weights were trained for, where the checkpoint says so."""
    if not isinstance(content, Mapping):
        return None
    schedule = content.get("schedule")
    found: list[Any] = [content.get(key) for key in STEP_KEYS]
    found += [schedule.get("last_epoch")] if isinstance(schedule, Mapping) else []
    states = (state.get("state") for state in optimizer_states(content))
    of_parameters = chain.from_iterable(state.values() for state in states if isinstance(state, Mapping))
    found += [one.get("step") for one in of_parameters if isinstance(one, Mapping)]
    return next((int(one) for one in map(number_of, found) if one is not None), None)


def _key_of_weights(content: Mapping[Any, Any]) -> Any:
    """The usual key under which the weights are, None where they are elsewhere: a configuration has such keys too."""
    usual = [key for key in WEIGHT_KEYS if isinstance(content.get(key), Mapping)]
    entries = {key: _entries_of_matrices(content[key]) for key in usual}
    best = max(usual, key=lambda key: entries[key], default=None)
    everywhere = _entries_of_matrices(content)
    if best is None or entries[best] * LEAST_SHARE < everywhere:
        return None
    if everywhere > 0:
        return best
    return next((key for key in usual if any(_is_floating(tensor) for _, tensor in _flat(content[key]))), None)


def _entries_of_matrices(content: Any) -> int:
    return sum(tensor.numel() for _, tensor in _flat(content) if _is_floating(tensor) and tensor.ndim > 1)


def _without_measurements(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Without losses and the like: numbers and curves beside mappings that hold the weights."""
    if not any(isinstance(value, Mapping) and _entries_of_matrices(value) for value in content.values()):
        return content
    is_measurement = {key: isinstance(one, Tensor) and is_plain(one) and one.ndim < 2 for key, one in content.items()}
    return {key: value for key, value in content.items() if not is_measurement[key]}


def _flat(content: Any) -> Iterator[tuple[str, Tensor]]:
    return _flattened(content, set(), DEEPEST, "")


def _flattened(content: Any, seen: set[int], depth: int, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield prefix.removesuffix("."), content
    elif isinstance(content, Mapping) and depth > 0 and id(content) not in seen and not holds_state(content):
        # A hostile dict may hold itself, or the next one many times over.
        seen.add(id(content))
        for key, value in content.items():
            yield from _flattened(value, seen, depth - 1, f"{prefix}{key}.")


def _require_own_values(weights: list[StoredWeight], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Views that overlap may claim any number of entries: a hostile file of megabytes would take hours."""
    views = [tensors[one.name] for one in weights]
    stored = sum({(one := view.untyped_storage()).data_ptr(): one.nbytes() for view in views}.values())
    claimed = sum(view.nbytes for view in views)
    if claimed > MOST_OVERLAP * stored:
        raise ValueError(
            f"{path} contains weights of {claimed:,} bytes in {stored:,} bytes, so they overlap; save clones of them"
        )


def _is_floating(tensor: Tensor) -> bool:
    return is_plain(tensor) and is_floating(tuple(tensor.shape), READABLE_TYPES.get(tensor.dtype, ""))


def _has_values(tensor: Tensor) -> bool:
    """No more entries than memory: an expanded tensor of 4 bytes may claim 10¹² of them."""
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
