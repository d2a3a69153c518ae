"""How a weight, its gradient and its state are sharded over the ranks of a device mesh."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from steadydecay.parallel.regions import Region, cuts_in_order, index_of, region_of, size_of


@final
@dataclass(frozen=True, eq=False)
class Cut:
    """A tensor of which this rank steps one region.

    Attributes:
        shape: The shape of the whole tensor.
        mesh: The ranks that hold it.
        placements: The placements of torch's DTensor, one for each dimension of the mesh.
        replica: The whole weight, if every rank also holds it (`DistributedDataParallel`) and must receive the regions
            that other ranks have stepped.
    """

    shape: tuple[int, ...]
    mesh: DeviceMesh
    placements: tuple[Any, ...]
    replica: Tensor | None = None

    def region(self, coordinate: Iterable[int]) -> Region:
        """Return the region that the rank at this coordinate of the mesh holds."""
        return region_of(self.shape, self._mesh_shape, tuple(coordinate), self._cuts)

    def own_region(self) -> Region:
        """Return the region that this rank holds."""
        return self.region(coordinate_in(self.mesh))

    def region_without(self, mesh_dims: Iterable[int]) -> Region:
        """Return the region that the ranks along these mesh dimensions, through this rank, hold together."""
        together = set(mesh_dims)
        cuts = tuple(cut for cut in self._cuts if cut[0] not in together)
        return region_of(self.shape, self._mesh_shape, coordinate_in(self.mesh), cuts)

    def cutting(self, dims: Iterable[int]) -> tuple[int, ...]:
        """Return the mesh dimensions along which these tensor dimensions are sharded, in the order of the mesh."""
        wanted = set(dims)
        return tuple(sorted(mesh_dim for mesh_dim, dim in self._cuts if dim in wanted))

    # This is cached, because a step asks for the region of every rank.
    @cached_property
    def _cuts(self) -> tuple[tuple[int, int], ...]:
        return cuts_in_order(self.placements)

    @cached_property
    def _mesh_shape(self) -> tuple[int, ...]:
        return tuple(self.mesh.shape)


def cut_of(tensor: Tensor) -> Cut | None:
    """Return how a weight is sharded, or None if it is whole on this rank and no other rank shares its work."""
    if not isinstance(tensor, DTensor) or tensor.device_mesh.size() == 1:
        return None
    return Cut(tuple(tensor.shape), tensor.device_mesh, tuple(tensor.placements))


def coordinate_in(mesh: DeviceMesh) -> tuple[int, ...]:
    """Return the coordinate of this rank in a mesh.

    Raises:
        ValueError: This rank is not in the mesh.
    """
    coordinate = mesh.get_coordinate()
    if coordinate is None:
        rank = torch.distributed.get_rank()
        raise ValueError(
            f"rank {rank} steps a weight on the mesh {mesh}, but is not in it; pass it only weights of its own mesh"
        )
    return tuple(coordinate)


def laid_out_as(weight: Tensor, cut: Cut | None) -> tuple[DeviceMesh, tuple[Any, ...]] | None:
    """Return mesh and placements of the state of a weight, or None if it is whole on this rank."""
    if cut is not None:
        return cut.mesh, cut.placements
    return (weight.device_mesh, tuple(weight.placements)) if isinstance(weight, DTensor) else None


def zeros_for(weight: Tensor, cut: Cut | None) -> Tensor:
    """Return zeros of a weight's shape and dtype, where each rank has only its region."""
    if cut is None or cut.replica is None:
        return torch.zeros_like(weight)
    return zeros_laid_out(cut, weight)


def zeros_laid_out(cut: Cut, like: Tensor) -> DTensor:
    """Return zeros of a plain tensor's dtype and device, where each rank has only its region."""
    return _distributed(like.new_zeros(size_of(cut.own_region())), cut)


def brought_to(held: Tensor, weight: Tensor, cut: Cut | None) -> Tensor:
    """Return state of any layout in the layout of its weight. Every rank calls this, because it may communicate."""
    wanted = laid_out_as(weight, cut)
    if isinstance(held, DTensor):
        if wanted is not None and held.device_mesh == wanted[0]:
            return held.redistribute(placements=wanted[1])
        held = held.full_tensor()
    if wanted is None:
        return held
    whole_cut = cut or Cut(tuple(weight.shape), *wanted)
    return _distributed(held[index_of(whole_cut.own_region())].clone(), whole_cut)


def is_laid_out(held: Tensor, weight: Tensor, cut: Cut | None) -> bool:
    """Return whether state has the layout of its weight."""
    found = (held.device_mesh, tuple(held.placements)) if isinstance(held, DTensor) else None
    return found == laid_out_as(weight, cut)


def _distributed(local: Tensor, cut: Cut) -> DTensor:
    shape = torch.Size(cut.shape)
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(local, cut.mesh, cut.placements, run_check=False, shape=shape, stride=stride)
