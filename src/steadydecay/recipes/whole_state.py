"""The state of a run whole, as its checkpoints hold it, from what each rank has of it, and back."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def gathered(state: Any, *, is_kept: bool) -> Any:
    """The state with whole tensors, on the CPU, for those that are cut over ranks; what holds none is left as it is.

    One tensor is gathered at a time, so that a device holds no more than one whole besides its own. Every rank calls
    it with a state of the same structure.

    Args:
        state: dicts, lists and tuples of anything.
        is_kept: whether this rank needs the whole tensors; on others, in their place is None.
    """
    if isinstance(state, DTensor):
        # Its detach() is a plain Tensor to the type checker.
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
    """Load whole weights into a model that may be cut over ranks; each takes its own part, and none waits for others.

    Raises:
        RuntimeError, TypeError: of `load_state_dict`, where names or shapes differ, or it is no dict.
    """
    own = model.state_dict()
    if isinstance(saved, Mapping) and any(isinstance(weight, DTensor) for weight in own.values()):
        saved = {name: _as_cut(value, own.get(name)) for name, value in saved.items()}
    model.load_state_dict(saved)


def load_whole_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load a whole `state_dict` into an optimizer whose weights may be cut over ranks; likewise.

    Raises:
        ValueError: of `load_state_dict`, where groups or state differ.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    places = [place for group in saved["param_groups"] for place in group["params"]]
    # Where there are more or fewer, load_state_dict says so.
    of_place = dict(zip(places, weights, strict=False))
    state = {
        place: {name: _as_cut(value, of_place.get(place)) for name, value in kept.items()}
        for place, kept in saved["state"].items()
    }
    optimizer.load_state_dict({**saved, "state": state})


def _are_same(first: Iterable[Any], second: Iterable[Any]) -> bool:
    return all(one is other for one, other in zip(first, second, strict=True))


def _as_cut(whole: Any, like: Any) -> Any:
    """This rank's part of what is whole, where a tensor of that shape is cut."""
    if not isinstance(whole, Tensor) or not isinstance(like, DTensor) or whole.shape != like.shape:
        return whole
    mesh = like.device_mesh
    # Without a source each rank takes its part of what it has.
    return distribute_tensor(whole.to(mesh.device_type), mesh, like.placements, src_data_rank=None)
