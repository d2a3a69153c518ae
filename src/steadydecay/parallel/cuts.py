"""How a weight, its gradient and its state are cut over the ranks of a device mesh."""

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
        shape: of the whole tensor.
        mesh: the ranks that hold it.
        placements: of torch's DTensor, one for each dimension of the mesh.
        replica: the whole weight, where every rank holds it besides (`DistributedDataParallel`) and has to be told
            what the others have made of their regions.
    """

    shape: tuple[int, ...]
    mesh: DeviceMesh
    placements: tuple[Any, ...]
    replica: Tensor | None = None

    def region(self, coordinate: Iterable[int]) -> Region:
        """What the rank at this coordinate of the mesh holds."""
        return region_of(self.shape, self._mesh_shape, tuple(coordinate), self._cuts)

    def own_region(self) -> Region:
        """What this rank holds."""
        return self.region(coordinate_in(self.mesh))

    def region_without(self, mesh_dims: Iterable[int]) -> Region:
        """What the ranks along these dimensions of the mesh, through this rank, hold together."""
        together = set(mesh_dims)
        cuts = tuple(cut for cut in self._cuts if cut[0] not in together)
        return region_of(self.shape, self._mesh_shape, coordinate_in(self.mesh), cuts)

    def cutting(self, dims: Iterable[int]) -> tuple[int, ...]:
        """The dimensions of the mesh along which these dimensions of the tensor are cut, in the order of the mesh."""
        wanted = set(dims)
        return tuple(sorted(mesh_dim for mesh_dim, dim in self._cuts if dim in wanted))

    # Kept, for a step asks for the region of every rank.
    @cached_property
    def _cuts(self) -> tuple[tuple[int, int], ...]:
        return cuts_in_order(self.placements)

    @cached_property
    def _mesh_shape(self) -> tuple[int, ...]:
        return tuple(self.mesh.shape)


def cut_of(tensor: Tensor) -> Cut | None:
    """How a weight is cut; None where all of it is on this rank and no other rank shares its work."""
    if not isinstance(tensor, DTensor) or tensor.device_mesh.size() == 1:
        return None
    return Cut(tuple(tensor.shape), tensor.device_mesh, tuple(tensor.placements))


def coordinate_in(mesh: DeviceMesh) -> tuple[int, ...]:
    """Where this rank is in a mesh.

    Raises:
        ValueError: it is not in it.
    """
    coordinate = mesh.get_coordinate()
    if coordinate is None:
        rank = torch.distributed.get_rank()
        raise ValueError(f"rank {rank} steps a weight of the mesh {mesh}, of which it is no part; give it none of them")
    return tuple(coordinate)


def laid_out_as(weight: Tensor, cut: Cut | None) -> tuple[DeviceMesh, tuple[Any, ...]] | None:
    """Mesh and placements of the state of a weight; None where it is whole on this rank."""
    if cut is not None:
        return cut.mesh, cut.placements
    return (weight.device_mesh, tuple(weight.placements)) if isinstance(weight, DTensor) else None


def zeros_for(weight: Tensor, cut: Cut | None) -> Tensor:
    """Zeros of a weight's shape and dtype, on each rank for its region only."""
    if cut is None or cut.replica is None:
        return torch.zeros_like(weight)
    return zeros_laid_out(cut, weight)


def zeros_laid_out(cut: Cut, like: Tensor) -> DTensor:
    """Zeros of a plain tensor's dtype and device, on each rank for its region only."""
    return _distributed(like.new_zeros(size_of(cut.own_region())), cut)


def brought_to(held: Tensor, weight: Tensor, cut: Cut | None) -> Tensor:
    """State in the layout of its weight, whatever layout it comes in; every rank calls it, for it may communicate."""
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
    """Whether state has the layout of its weight."""
    found = (held.device_mesh, tuple(held.placements)) if isinstance(held, DTensor) else None
    return found == laid_out_as(weight, cut)


def _distributed(local: Tensor, cut: Cut) -> DTensor:
    shape = torch.Size(cut.shape)
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(local, cut.mesh, cut.placements, run_check=False, shape=shape, stride=stride)
