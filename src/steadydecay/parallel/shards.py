"""The part of a tensor that this process holds, and sums over those that hold the rest."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate

from steadydecay.parallel.regions import Region, cuts_in_order, index_of, region_of

# Process groups, and tensors that add up over the ranks of each of them.
PartialSum = tuple[Sequence[Any], Sequence[Tensor]]


class Sharding(NamedTuple):
    """A tensor that is cut over the ranks of a mesh, along whichever dimensions of both.

    Attributes:
        mesh: of ranks.
        placements: one for each dimension of the mesh.
    """

    mesh: DeviceMesh
    placements: tuple[Placement, ...]

    def groups(self, dimensions: Collection[int] | None = None) -> list[Any]:
        """The process groups over which sums over the tensor add up: one for each dimension of the mesh that cuts it.

        Args:
            dimensions: of the tensor; only what cuts these. None is all of them.
        """
        wanted = self.cut_dimensions() if dimensions is None else dimensions
        return [self.mesh.get_group(at) for at, dimension in self._cuts() if dimension in wanted]

    def cut_dimensions(self) -> set[int]:
        """Dimensions of the tensor along which it is cut."""
        return {dimension for _, dimension in self._cuts()}

    def region(self, shape: Sequence[int]) -> Region:
        """Which entries of a tensor of this shape are here; none on a rank that is not in the mesh."""
        coordinate = self.mesh.get_coordinate()
        if coordinate is None:
            return tuple((0, 0) for _ in shape)
        return region_of(tuple(shape), tuple(self.mesh.shape), tuple(coordinate), cuts_in_order(self.placements))

    def place(self) -> tuple[int, int]:
        """The number of this rank's part, and how many parts there are."""
        place, parts, coordinate = 0, 1, self.mesh.get_coordinate()
        for at, _ in self._cuts():
            size = self.mesh.size(at)
            place, parts = place * size + (0 if coordinate is None else coordinate[at]), parts * size
        return place, parts

    def _cuts(self) -> list[tuple[int, int]]:
        """Dimensions of the mesh that cut the tensor, each with the tensor's own."""
        return [(at, dimension) for at, dimension in sorted(cuts_in_order(self.placements)) if self.mesh.size(at) > 1]


def sharding_of(tensor: Tensor) -> Sharding | None:
    """How a tensor is cut; None for one that is whole on every rank that has it."""
    if not isinstance(tensor, DTensor):
        return None
    sharding = Sharding(tensor.device_mesh, tuple(tensor.placements))
    return sharding if sharding.cut_dimensions() else None


def is_here(tensor: Tensor) -> bool:
    """Whether this rank has a part, which may be empty: not of a tensor whose mesh it is not in."""
    return not isinstance(tensor, DTensor) or tensor.device_mesh.get_coordinate() is not None


def local_part(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """What is here of a tensor, plain, and in the same memory where nothing had to be brought here.

    Args:
        tensor: a weight, or a gradient or state of one.
        like: the tensor of the same shape whose layout it is brought to; by default its own, summed where it is a sum.
    """
    if type(tensor) in (Tensor, nn.Parameter) and not isinstance(like, DTensor):
        # As it is: 10⁵ looks at small weights take a second.
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
    """A view of the part of a plain tensor that a sharding gives this rank."""
    return whole if sharding is None else whole[index_of(sharding.region(whole.shape))]


def sum_over_ranks(partial: Iterable[PartialSum]) -> None:
    """Replace tensors by their sums over the ranks of the groups beside them, in place: one collective for each group.

    Every rank of a group calls it with tensors of the same shapes in the same order; no rank waits for its device. The
    groups of one tensor are those along several dimensions of a mesh, in its order: all ranks sum along the first, and
    then these sums along the next. Ranks may have different groups: all go through those that they have in one order,
    so that none waits for another in vain.
    """
    sums = [(list(groups), list(tensors)) for groups, tensors in partial if groups and tensors]
    latest: dict[str, int] = {}
    for groups, _ in sums:
        for stage, group in enumerate(groups):
            latest[group.group_name] = max(stage, latest.get(group.group_name, 0))
    waiting: dict[tuple[int, str, str], tuple[Any, list[Tensor]]] = {}
    for groups, tensors in sums:
        for stage, group in enumerate(groups):
            # What is summed along one dimension alone can wait for what comes later to that group.
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
    """What is here of the tensor in these placements, when it is here."""
    if tuple(tensor.placements) != tuple(placements):
        tensor = tensor.redistribute(tensor.device_mesh, placements)
    local = tensor.to_local()
    wait: Any = getattr(local, "wait", None)
    return local if wait is None else wait()
