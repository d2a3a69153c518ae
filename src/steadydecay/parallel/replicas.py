"""Weights that every rank holds whole and steps alike, so that ranks can share their cost (as in ZeRO-1)."""

import gc
from collections.abc import Iterator, Sequence
from typing import Any, final

import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.parallel import DistributedDataParallel

from steadydecay.parallel.rank_groups import is_alone

# Wrappers of optimizers that save the state of one rank only.
SAVED_BY_ONE_RANK = ("AcceleratedOptimizer",)


@final
class UnsavedMesh(DeviceMesh):
    """A mesh whose tensors cannot be pickled, because a state dict saved by one rank would lack the others' rows."""

    def __getstate__(self) -> Any:
        raise ValueError(
            f"this optimizer's state is sharded over {self.size()} ranks, and pickling it would only save the rows of "
            "one of them. Save it with torch.distributed.checkpoint, or call optimizer.consolidate_state_dict() on "
            "every rank before optimizer.state_dict(), or keep the state whole on every rank by passing "
            "data_parallel_group=None to the optimizer"
        )

    def __deepcopy__(self, memo: Any) -> "UnsavedMesh":
        return self


def mesh_over(group: Any, device_type: str) -> DeviceMesh:
    """Return the ranks of a process group as a one-dimensional mesh."""
    mesh = DeviceMesh.from_group(group, device_type)
    # from_group returns a plain mesh, whatever class it is called on.
    mesh.__class__ = UnsavedMesh
    return mesh


def replica_groups(optimizer: Any, weights: Sequence[Tensor], group: Any) -> dict[Tensor, Any]:
    """Return the process group whose ranks hold the same values of each weight; weights stepped by this rank alone are
    omitted.

    Args:
        optimizer: The optimizer of the weights.
        weights: Plain tensors.
        group: That process group, or None for no group. "auto" finds that of `DistributedDataParallel`, unless the
            optimizer is wrapped by one of `SAVED_BY_ONE_RANK`. Finding it takes a pass over all objects of the process,
            tens of milliseconds.
    """
    if group is None or is_alone():
        return {}
    if group != "auto":
        return dict.fromkeys(weights, group) if dist.get_world_size(group) > 1 else {}
    found = _groups_of_wrappers(optimizer)
    return {weight: found[id(weight)] for weight in weights if id(weight) in found}


def _groups_of_wrappers(optimizer: Any) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for one in gc.get_objects():
        if issubclass(type(one), DistributedDataParallel):
            found |= {id(parameter): one.process_group for parameter in _kept_alike(one)}
        elif type(one).__name__ in SAVED_BY_ONE_RANK and getattr(one, "optimizer", None) is optimizer:
            return {}
    return {weight: group for weight, group in found.items() if dist.get_world_size(group) > 1}


def _kept_alike(wrapper: DistributedDataParallel) -> Iterator[Tensor]:
    ignored = wrapper.parameters_to_ignore
    return (parameter for name, parameter in wrapper.module.named_parameters() if name not in ignored)
