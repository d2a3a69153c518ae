"""Weights that every rank holds whole and steps alike, so that ranks can share what they cost (as in ZeRO-1)."""

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
    """A mesh whose tensors are not pickled: of a state dict that one rank saves alone, the others' rows are missing."""

    def __getstate__(self) -> Any:
        raise ValueError(
            f"this optimizer's state is cut over {self.size()} ranks, and pickling it would save the rows of one of "
            "them. Save it with torch.distributed.checkpoint, or call optimizer.consolidate_state_dict() on every rank "
            "before optimizer.state_dict(), or keep the state whole on every rank by the optimizer's argument "
            "data_parallel_group=None"
        )

    def __deepcopy__(self, memo: Any) -> "UnsavedMesh":
        return self


def mesh_over(group: Any, device_type: str) -> DeviceMesh:
    """The ranks of a process group as a mesh of one dimension."""
    mesh = DeviceMesh.from_group(group, device_type)
    # from_group makes a plain mesh, whatever class it is called of.
    mesh.__class__ = UnsavedMesh
    return mesh


def replica_groups(optimizer: Any, weights: Sequence[Tensor], group: Any) -> dict[Tensor, Any]:
    """The process group whose ranks hold the same of each weight; none for a weight that this rank steps alone.

    Args:
        optimizer: of the weights.
        weights: plain tensors.
        group: that process group; None for none; "auto" for that of `DistributedDataParallel`, unless the optimizer is
            wrapped by one of `SAVED_BY_ONE_RANK`. To find it takes a pass over all objects of the process, tens of
            milliseconds.
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
