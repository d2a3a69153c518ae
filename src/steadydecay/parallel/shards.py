"""The part of a tensor that this process holds, and sums over the processes that hold the rest."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate

from steadydecay.parallel.regions import Region, cuts_in_order, index_of, region_of

# Process groups, and tensors to be summed over the ranks of each of them.
PartialSum = tuple[Sequence[Any], Sequence[Tensor]]


class Sharding(NamedTuple):
    """A tensor that is sharded over the ranks of a mesh, along any dimensions of both.

    Attributes:
        mesh: The mesh of ranks.
        placements: One placement for each dimension of the mesh.
    """

    mesh: DeviceMesh
    placements: tuple[Placement, ...]

    def groups(self, dimensions: Collection[int] | None = None) -> list[Any]:
        """Return the process groups over which sums over the tensor add up, one for each mesh dimension that shards it.

        Args:
            dimensions: Tensor dimensions. Only what shards these counts; None stands for all of them.
        """
        wanted = self.cut_dimensions() if dimensions is None else dimensions
        return [self.mesh.get_group(at) for at, dimension in self._cuts() if dimension in wanted]

    def cut_dimensions(self) -> set[int]:
        """Return the dimensions of the tensor along which it is sharded."""
        return {dimension for _, dimension in self._cuts()}

    def region(self, shape: Sequence[int]) -> Region:
        """Return the local entries of a tensor of this shape; none on a rank that is not in the mesh."""
        coordinate = self.mesh.get_coordinate()
        if coordinate is None:
            return tuple((0, 0) for _ in shape)
        return region_of(tuple(shape), tuple(self.mesh.shape), tuple(coordinate), cuts_in_order(self.placements))

    def place(self) -> tuple[int, int]:
        """Return the number of this rank's part, and the number of parts."""
        place, parts, coordinate = 0, 1, self.mesh.get_coordinate()
        for at, _ in self._cuts():
            size = self.mesh.size(at)
            place, parts = place * size + (0 if coordinate is None else coordinate[at]), parts * size
        return place, parts

    def _cuts(self) -> list[tuple[int, int]]:
        """Return the mesh dimensions that shard the tensor, each with the tensor dimension."""
        return [(at, dimension) for at, dimension in sorted(cuts_in_order(self.placements)) if self.mesh.size(at) > 1]


def sharding_of(tensor: Tensor) -> Sharding | None:
    """Return how a tensor is sharded, or None if it is whole on every rank that has it."""
    if not isinstance(tensor, DTensor):
        return None
    sharding = Sharding(tensor.device_mesh, tuple(tensor.placements))
    return sharding if sharding.cut_dimensions() else None


def is_here(tensor: Tensor) -> bool:
    """Return whether this rank has a part, which may be empty; it has none if it is not in the tensor's mesh."""
    return not isinstance(tensor, DTensor) or tensor.device_mesh.get_coordinate() is not None


def local_part(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """Return the local part of a tensor as a plain tensor, in the same memory if nothing had to be communicated.

    Args:
        tensor: A weight, or a gradient or state of one.
        like: A tensor of the same shape whose layout to use. The default is its own layout, after summing partial sums.
    """
    if type(tensor) in (Tensor, nn.Parameter) and not isinstance(like, DTensor):
        # Return it as it is, because looking at 10⁵ small weights takes a second.
        return tensor
    tensor = tensor.detach()
    if not isinstance(tensor, DTensor):
        return part_of_whole(tensor, sharding_of(like)) if isinstance(like, DTensor) else tensor
    if like is None:
        return _arrived(tensor, [Replicate() if one.is_partial() else one for one in tensor.placements])
    if isinstance(like, DTensor) and like.device_mesh == tensor.device_mesh:
        return _arrived(tensor, like.placements)
    return part_of_whole(tensor.full_tensor(), sharding_of(like))


def part_of_whole(whole: Tensor, sharding: Sharding | None) -> Tensor:
    """Return a view of the part of a plain tensor that a sharding assigns to this rank."""
    return whole if sharding is None else whole[index_of(sharding.region(whole.shape))]


def sum_over_ranks(partial: Iterable[PartialSum]) -> None:
    """Replace tensors by their sums over the ranks of the groups beside them, in place, with one collective for each
    group.

    Every rank of a group calls it with tensors of the same shapes in the same order, and no rank waits for its device.
    The groups of one tensor are those along several mesh dimensions in the order of the mesh: all ranks sum along the
    first, and then sum the results along the next. Ranks may have different groups. All go through those that they have
    in one order, so that no rank waits for another in vain.
    """
    sums = [(list(groups), list(tensors)) for groups, tensors in partial if groups and tensors]
    latest: dict[str, int] = {}
    for groups, _ in sums:
        for stage, group in enumerate(groups):
            latest[group.group_name] = max(stage, latest.get(group.group_name, 0))
    waiting: dict[tuple[int, str, str], tuple[Any, list[Tensor]]] = {}
    for groups, tensors in sums:
        for stage, group in enumerate(groups):
            # Tensors that are summed along one dimension alone can wait for later tensors of the same group.
            at = latest[group.group_name] if len(groups) == 1 else stage
            waiting.setdefault((at, group.group_name, tensors[0].device.type), (group, []))[1].extend(tensors)
    for _, (group, tensors) in sorted(waiting.items(), key=_order):
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat, group=group)
        for tensor, summed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))


def _order(item: tuple[tuple[int, str, str], tuple[Any, list[Tensor]]]) -> tuple[int, list[int], str]:
    (stage, _, device_type), (group, _) = item
    return stage, dist.get_process_group_ranks(group), device_type


def _arrived(tensor: DTensor, placements: Sequence[Placement]) -> Tensor:
    """Return the local part of the tensor in these placements, once it has arrived."""
    if tuple(tensor.placements) != tuple(placements):
        tensor = tensor.redistribute(tensor.device_mesh, placements)
    local = tensor.to_local()
    wait: Any = getattr(local, "wait", None)
    return local if wait is None else wait()
