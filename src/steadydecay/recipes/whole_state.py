"""Convert the state of a run between whole tensors, as checkpoints contain them, and the shards of each rank."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def gathered(state: Any, *, is_kept: bool) -> Any:
    """Return the state with whole tensors on the CPU in place of sharded ones. A state without shards is unchanged.

    One tensor is gathered at a time, so that a device holds at most one whole tensor besides its own shards. Every rank
    must call this with a state of the same structure.

    Args:
        state: Dicts, lists and tuples of anything.
        is_kept: Whether this rank needs the whole tensors. Other ranks get None in their place.
    """
    if isinstance(state, DTensor):
        # To the type checker, its detach() is a plain Tensor.
        with torch.no_grad():
            whole = state.full_tensor()
        return whole.detach().cpu() if is_kept else None
    if isinstance(state, Mapping):
        found = [gathered(value, is_kept=is_kept) for value in state.values()]
        return state if _are_same(found, state.values()) else dict(zip(state, found, strict=True))
    if isinstance(state, list | tuple):
        found = [gathered(value, is_kept=is_kept) for value in state]
        return state if _are_same(found, state) else type(state)(found)
    return state


def load_whole_model(model: nn.Module, saved: Any) -> None:
    """Load whole weights into a model that may be sharded. Each rank takes its own part without waiting for others.

    Raises:
        RuntimeError, TypeError: Raised by `load_state_dict` if names or shapes differ, or if `saved` is not a dict.
    """
    own = model.state_dict()
    if isinstance(saved, Mapping) and any(isinstance(weight, DTensor) for weight in own.values()):
        saved = {name: _as_cut(value, own.get(name)) for name, value in saved.items()}
    model.load_state_dict(saved)


def load_whole_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load a whole `state_dict` into an optimizer whose weights may be sharded, as `load_whole_model` does.

    Raises:
        ValueError: Raised by `load_state_dict` if groups or state differ.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    places = [place for group in saved["param_groups"] for place in group["params"]]
    # If there are more or fewer, load_state_dict reports it.
    of_place = dict(zip(places, weights, strict=False))
    state = {
        place: {name: _as_cut(value, of_place.get(place)) for name, value in kept.items()}
        for place, kept in saved["state"].items()
    }
    optimizer.load_state_dict({**saved, "state": state})


def _are_same(first: Iterable[Any], second: Iterable[Any]) -> bool:
    return all(one is other for one, other in zip(first, second, strict=True))


def _as_cut(whole: Any, like: Any) -> Any:
    """Return this rank's part of a whole tensor if a tensor of that shape is sharded."""
    if not isinstance(whole, Tensor) or not isinstance(like, DTensor) or whole.shape != like.shape:
        return whole
    mesh = like.device_mesh
    # Without a source rank, each rank takes its part of its own copy.
    return distribute_tensor(whole.to(mesh.device_type), mesh, like.placements, src_data_rank=None)
