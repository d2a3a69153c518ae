"""The part of a tensor that this process holds, and sums over those that hold the rest."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate
from torch.distributed.tensor.placement_types import Shard, _StridedShard

from steadydecay.tensors.index_runs import Runs, chunk, count, strided_chunk

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

    def runs(self, shape: Sequence[int]) -> list[Runs]:
        """Which entries along each dimension of a tensor of this shape are here."""
        found: list[Runs] = [[range(size)] for size in shape]
        coordinate = self.mesh.get_coordinate()
        for at, dimension in self._cuts():
            chunks, runs, placement = self.mesh.size(at), found[dimension], self.placements[at]
            if coordinate is None:
                found[dimension] = []
            elif isinstance(placement, _StridedShard):
                found[dimension] = strided_chunk(runs, int(placement.split_factor), chunks, coordinate[at])
            else:
                found[dimension] = chunk(runs, chunks, coordinate[at])
        return found

    def place(self) -> tuple[int, int]:
        """The number of this rank's part, and how many parts there are."""
        place, parts, coordinate = 0, 1, self.mesh.get_coordinate()
        for at, _ in self._cuts():
            size = self.mesh.size(at)
            place, parts = place * size + (0 if coordinate is None else coordinate[at]), parts * size
        return place, parts

    def _cuts(self) -> list[tuple[int, int]]:
        """Dimensions of the mesh that cut the tensor, each with the tensor's own."""
        return [
            (at, placement.dim)
            for at, placement in enumerate(self.placements)
            if isinstance(placement, Shard | _StridedShard) and self.mesh.size(at) > 1
        ]


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
        return _laid_out(tensor, [Replicate() if one.is_partial() else one for one in tensor.placements]).to_local()
    if isinstance(like, DTensor) and like.device_mesh == tensor.device_mesh:
        return _laid_out(tensor, like.placements).to_local()
    return part_of_whole(tensor.full_tensor(), sharding_of(like))


def part_of_whole(whole: Tensor, sharding: Sharding | None) -> Tensor:
    """The part of a plain tensor that a sharding gives this rank; a view where it is one block of it."""
    runs = [] if sharding is None else sharding.runs(whole.shape)
    for dimension, of_dimension in enumerate(runs):
        if count(of_dimension) < whole.shape[dimension]:
            whole = along(whole, dimension, of_dimension)
    return whole


def along(tensor: Tensor, dimension: int, runs: Runs) -> Tensor:
    """The entries of these runs along a dimension; a view where they are one run, or none."""
    if len(runs) < 2:
        run = runs[0] if runs else range(0)
        return tensor.narrow(dimension, run.start, len(run))
    return torch.cat([tensor.narrow(dimension, run.start, len(run)) for run in runs], dim=dimension)


def sum_over_ranks(partial: Iterable[PartialSum]) -> None:
    """Replace tensors by their sums over the ranks of the groups beside them, in place: one collective for each group.

    Every rank of a group calls it with tensors of the same shapes in the same order; no rank waits for its device.
    Ranks may have different groups: all take those that they have in one order, so that none waits for another in vain.
    """
    waiting: dict[tuple[str, str], tuple[Any, list[Tensor]]] = {}
    for groups, tensors in partial:
        for group in groups if tensors else ():
            waiting.setdefault((group.group_name, tensors[0].device.type), (group, []))[1].extend(tensors)
    for group, tensors in sorted(waiting.values(), key=_order):
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat, group=group)
        for tensor, summed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))


def _order(waiting: tuple[Any, list[Tensor]]) -> tuple[list[int], str]:
    group, tensors = waiting
    return dist.get_process_group_ranks(group), tensors[0].device.type


def _laid_out(tensor: DTensor, placements: Sequence[Placement]) -> DTensor:
    if tuple(tensor.placements) == tuple(placements):
        return tensor
    return tensor.redistribute(tensor.device_mesh, placements)
