"""The state of a run whole, as its checkpoints hold it, from what each rank has of it, and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def gathered(state: Any, *, is_kept: bool) -> Any:
    """The state with whole tensors for those that are cut over ranks, on the CPU; containers are copied.

    One tensor is gathered at a time, so that a device holds no more than one whole besides its own. Every rank calls
    it with a state of the same structure.

    Args:
        state: dicts, lists and tuples of anything.
        is_kept: whether this rank needs them; on others, in their place is None.
    """
    if isinstance(state, DTensor):
        whole = state.detach().full_tensor()
        return whole.cpu() if is_kept else None
    if isinstance(state, Mapping):
        return {key: gathered(value, is_kept=is_kept) for key, value in state.items()}
    if isinstance(state, list | tuple) and not hasattr(state, "_fields"):
        return type(state)(gathered(value, is_kept=is_kept) for value in state)
    return state


def load_whole_model(model: nn.Module, saved: Mapping[str, Any]) -> None:
    """Load whole weights into a model that may be cut over ranks; each takes its own part, and none waits for others.

    Raises:
        RuntimeError: of `load_state_dict`, where names or shapes differ.
    """
    own = model.state_dict()
    model.load_state_dict({name: _as_cut(value, own.get(name)) for name, value in saved.items()})


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


def _as_cut(whole: Any, like: Any) -> Any:
    """This rank's part of what is whole, where a tensor of that shape is cut."""
    if not isinstance(whole, Tensor) or not isinstance(like, DTensor) or whole.shape != like.shape:
        return whole
    mesh = like.device_mesh
    # Without a source each rank takes its part of what it has.
    return distribute_tensor(whole.to(mesh.device_type), mesh, like.placements, src_data_rank=None)
