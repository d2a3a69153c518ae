"""The ranks that share a piece of work, and their process group."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple, final

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from steadydecay.parallel.cuts import coordinate_in


def is_alone() -> bool:
    """Return whether there are no other ranks besides this process."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


class Ranks(NamedTuple):
    """The ranks along some dimensions of a mesh, through this rank.

    Attributes:
        group: Their process group, or None if there is only this rank.
        rank: The rank of this process in the group.
        coordinates: The mesh coordinates of each rank of the group.
    """

    group: Any
    rank: int
    coordinates: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        return len(self.coordinates)


@final
class RankGroups:
    """The process groups in which an optimizer communicates. Each is created once, when it is first needed."""

    def __init__(self) -> None:
        self._made: dict[tuple[DeviceMesh, tuple[int, ...]], Ranks] = {}

    def along(self, mesh: DeviceMesh, mesh_dims: Sequence[int]) -> Ranks:
        """Return the ranks that differ from this one only along these mesh dimensions. All of them must call this."""
        key = (mesh, tuple(mesh_dims))
        if key not in self._made:
            self._made[key] = _peers(mesh, tuple(mesh_dims))
        return self._made[key]


def _peers(mesh: DeviceMesh, mesh_dims: tuple[int, ...]) -> Ranks:
    here = coordinate_in(mesh)
    ranges = [range(size) if dim in mesh_dims else (here[dim],) for dim, size in enumerate(mesh.shape)]
    coordinate_of = {int(mesh.mesh[at]): at for at in product(*ranges)}
    if not mesh_dims:
        return Ranks(None, 0, (here,))
    group = mesh.get_group(mesh_dims[0]) if len(mesh_dims) == 1 else _group_of(sorted(coordinate_of))
    ranks = dist.get_process_group_ranks(group)
    return Ranks(group, dist.get_rank(group), tuple(coordinate_of[rank] for rank in ranks))


def _group_of(ranks: list[int]) -> Any:
    if ranks == list(range(dist.get_world_size())):
        return dist.group.WORLD
    # Otherwise ranks that are not in the group would have to call it too.
    return dist.new_group(ranks, use_local_synchronization=True)
