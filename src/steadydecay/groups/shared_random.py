"""Let all ranks that share weights draw the same random numbers, whatever each of them has drawn before."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor


@contextmanager
def drawn_alike(weights: Sequence[Tensor], generator: torch.Generator | None) -> Iterator[None]:
    """Let ranks that share some of the weights draw the same numbers within the context: those of the first rank of
    their mesh.

    Afterwards a rank whose generator had the same state as that rank's has the same state again; any other continues
    with its own numbers. If no weight is a DTensor this does nothing, and no rank waits for another.

    Args:
        weights: Weights on one device.
        generator: The generator to draw from. The default is the global one of the device.
    """
    shared = [weight for weight in weights if isinstance(weight, DTensor)]
    if not shared:
        yield
        return
    device, meshes = shared[0].device, list(dict.fromkeys(weight.device_mesh for weight in shared))
    own = _state(generator, device)
    agreed = own.clone()
    # The largest mesh comes first, because it makes the smaller ones within it agree with each other.
    for mesh in sorted(meshes, key=lambda one: -one.size()):
        agreed = _of_first_rank(agreed, mesh)
    _set_state(generator, device, agreed)
    try:
        yield
    finally:
        if not torch.equal(own, agreed):
            _set_state(generator, device, own)


def _of_first_rank(state: Tensor, mesh: DeviceMesh) -> Tensor:
    if mesh.get_coordinate() is None:
        return state
    sent = state.to(mesh.device_type)
    for dimension in range(mesh.ndim):
        dist.broadcast(sent, group=mesh.get_group(dimension), group_src=0)
    return sent.to(state.device)


def _state(generator: torch.Generator | None, device: torch.device) -> Tensor:
    if generator is not None:
        return generator.get_state()
    return torch.get_rng_state() if device.type == "cpu" else _device_module(device).get_rng_state(device)


def _set_state(generator: torch.Generator | None, device: torch.device, state: Tensor) -> None:
    if generator is not None:
        generator.set_state(state)
    elif device.type == "cpu":
        torch.set_rng_state(state)
    else:
        _device_module(device).set_rng_state(state, device)


def _device_module(device: torch.device) -> Any:
    return torch.get_device_module(device)
