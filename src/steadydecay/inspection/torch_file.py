"""What a file of torch.save holds: weights, optimizer states, steps. Nothing in it is ever executed."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steadydecay.inspection.stored_weight import READABLE_TYPES, StoredWeight, is_weight

# Where training scripts put the weights: ours, torch's tutorial, Lightning and timm, DeepSpeed, others.
WEIGHT_KEYS = ("model", "state_dict", "model_state_dict", "module", "weights", "params")
OPTIMIZER_KEYS = ("optimizer", "optimizer_state_dict", "optimizer_states", "optim")
STEP_KEYS = ("step", "global_step", "iteration", "iter_num")
# A state dict of state dicts is rarely deeper than 3.
DEEPEST = 10
UNSAFE_NAME = re.compile(r"GLOBAL ([\w.]+)")


def load(path: Path) -> Any:
    """The content of a file of torch.save, mapped: values are read when they are used.

    Raises:
        ValueError: damaged, another kind of zip, or holding objects whose loading could execute code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    # A damaged or hostile file may fail in any way.
    except Exception as error:
        raise ValueError(f"{path} {_refusal(error)}") from error


def listed_weights(content: Any, path: Path) -> tuple[list[StoredWeight], int]:
    """The weights in what `load` returned, tied ones once, and how many other tensors there are.

    Raises:
        ValueError: no tensor in it.
    """
    tensors = state_dict_of(content, path)
    weights: dict[Any, StoredWeight] = {}
    for name, tensor in tensors.items():
        dtype = READABLE_TYPES.get(tensor.dtype, "")
        if is_weight(name, tuple(tensor.shape), dtype) and _has_values(tensor):
            place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride())
            first = weights.setdefault(place, StoredWeight(name, tuple(tensor.shape), dtype))
            weights[place] = first if first.name == name else first._replace(tied=(*first.tied, name))
    found = list(weights.values())
    return found, len(tensors) - sum(1 + len(one.tied) for one in found)


def opened(path: Path) -> Callable[[str], Tensor]:
    """The file mapped, as a function from name to tensor; unmapped when that and its tensors are gone."""
    tensors = state_dict_of(load(path), path)
    return lambda name: tensors[name].detach()


def state_dict_of(content: Any, path: Path) -> dict[str, Tensor]:
    """Every tensor of the model by name.

    Raises:
        ValueError: no tensor in it.
    """
    if isinstance(content, Mapping):
        if optimizer_states_of(content) == [content]:
            raise ValueError(f"{path} holds the state of an optimizer, no weights: give the model's file beside it")
        holder = next((content[key] for key in WEIGHT_KEYS if isinstance(content.get(key), Mapping)), None)
        others = {key: value for key, value in content.items() if key not in OPTIMIZER_KEYS}
        if tensors := dict(_flat(others if holder is None else holder, set(), DEEPEST)):
            return tensors
    raise ValueError(f"{path} holds a {type(content).__name__} without a named tensor; save model.state_dict()")


def optimizer_states_of(content: Any) -> list[Mapping[str, Any]]:
    """The state dicts of optimizers in a checkpoint, or the one that it is."""
    if not isinstance(content, Mapping):
        return []
    found = [content, *(content.get(key) for key in OPTIMIZER_KEYS)]
    flat = chain.from_iterable(one if isinstance(one, list | tuple) else [one] for one in found)
    return [one for one in flat if isinstance(one, Mapping) and isinstance(one.get("param_groups"), list)]


def steps_of(content: Any) -> int | None:
    """Steps that the weights were trained for, where the checkpoint says so."""
    if not isinstance(content, Mapping):
        return None
    schedule = content.get("schedule")
    found: list[Any] = [content.get(key) for key in STEP_KEYS]
    found += [schedule.get("last_epoch")] if isinstance(schedule, Mapping) else []
    states = (state.get("state") for state in optimizer_states_of(content))
    of_parameters = chain.from_iterable(state.values() for state in states if isinstance(state, Mapping))
    found += [one.get("step") for one in of_parameters if isinstance(one, Mapping)]
    return next((int(one) for one in found if _is_number(one)), None)


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_meta and not value.is_complex() and bool(value.isfinite())
    return isinstance(value, int | float) and math.isfinite(value)


def _flat(content: Any, seen: set[int], depth: int, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield prefix.removesuffix("."), content
    elif isinstance(content, Mapping) and depth > 0 and id(content) not in seen:
        # A hostile dict may hold itself, or the next one many times over.
        seen.add(id(content))
        for key, value in content.items():
            yield from _flat(value, seen, depth - 1, f"{prefix}{key}.")


def _has_values(tensor: Tensor) -> bool:
    """Dense, and no more entries than memory: an expanded tensor of 4 bytes may claim 10¹² of them."""
    is_dense = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_quantized
    return is_dense and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _refusal(error: Exception) -> str:
    text = str(error)
    if "weights only" in text.lower():
        found = UNSAFE_NAME.search(text)
        what = f"holds {found[1]}" if found else "is damaged, or holds more than it may"
        return (
            f"{what}: legal are tensors, numbers, strings and containers of them, because loading others could execute "
            "code. Nothing of it was loaded; where you trust it, load it yourself and save model.state_dict()"
        )
    reason = text.partition("\n")[0].partition(". ")[0] or type(error).__name__
    return f"is no whole file of torch.save ({reason}): it is cut short, damaged or another zip; copy it again"
