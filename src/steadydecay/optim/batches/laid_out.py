"""A hypothetical weight: how a strategy lays it out over all ranks, and what follows from that."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch

from steadydecay.norms import fewest_dimensions
from steadydecay.norms.protocol import Norm
from steadydecay.parallel.regions import Region, count_of, cuts_in_order, region_of

Coordinate = tuple[int, ...]


class RankGroup(NamedTuple):
    """Ranks that share matrices.

    Attributes:
        ranks: The ranks in order.
        coordinates: The coordinates of each rank in the mesh.
    """

    ranks: list[int]
    coordinates: list[Coordinate]


class LaidOutWeight(NamedTuple):
    """A weight, and how a strategy lays it out over all ranks.

    Attributes:
        shape: The shape of the whole weight.
        norm: The norm of its update.
        mesh: The number of ranks along each dimension. Their product is the number of ranks, and the last varies
            fastest.
        placements: The placements of torch's DTensor, one for each dimension of the mesh. None stands for a dimension
            that the weight's own mesh does not have, so that the ranks along it do not know of each other. A plain
            tensor has only None.
        is_replica: Whether every rank holds the whole weight and shares its state and work by these placements
            (`DistributedDataParallel`).
        dtype: The dtype of weight, momentum and gradient.
        has_compensation: Whether a compensation for rounding is kept, which is as large as the momentum.
    """

    shape: tuple[int, ...]
    norm: Norm
    mesh: tuple[int, ...]
    placements: tuple[Any, ...]
    is_replica: bool = False
    dtype: torch.dtype = torch.float32
    has_compensation: bool = False

    @property
    def is_of_matrices(self) -> bool:
        """Whether an update needs a whole matrix."""
        return getattr(self.norm, "vector_dims", None) is None

    @property
    def vector_dims(self) -> tuple[int, ...]:
        """The dimensions (not negative) that make up a vector; none for Sign and for matrices."""
        return tuple(dim % len(self.shape) for dim in getattr(self.norm, "vector_dims", None) or ())

    @property
    def stacked(self) -> int:
        """The number of leading dimensions that stack matrices."""
        return len(self.shape) - (fewest_dimensions(self.norm) or len(self.shape))

    @property
    def known(self) -> tuple[int, ...]:
        """The mesh dimensions whose ranks the weight knows of."""
        of_mesh = zip(self.mesh, self.placements, strict=True)
        return tuple(dim for dim, (size, placement) in enumerate(of_mesh) if size > 1 and placement is not None)

    @property
    def shared(self) -> tuple[int, ...]:
        """The mesh dimensions whose ranks share each matrix; along the others each rank has its own matrices."""
        apart = {mesh_dim for mesh_dim, dim in cuts_in_order(self.placements) if dim < self.stacked}
        return tuple(mesh_dim for mesh_dim in self.known if self.is_replica or mesh_dim not in apart)

    @property
    def cut(self) -> tuple[int, ...]:
        """The dimensions of `shared` whose ranks hold different pieces of each matrix, and not replicas."""
        cutting = {mesh_dim for mesh_dim, _ in cuts_in_order(self.placements)}
        return tuple(dim for dim in self.shared if dim in cutting)

    def is_cut_along(self, dims: Iterable[int]) -> bool:
        """Return whether any of these dimensions of the weight is sharded."""
        wanted = set(dims)
        return any(dim in wanted for mesh_dim, dim in cuts_in_order(self.placements) if self.mesh[mesh_dim] > 1)

    def regions(self, coordinates: Iterable[Coordinate]) -> list[Region]:
        """Return the region that each of the ranks at these coordinates holds, or steps if it holds a replica."""
        cuts = cuts_in_order(self.placements)
        return [region_of(self.shape, self.mesh, coordinate, cuts) for coordinate in coordinates]

    def pieces(self, group: RankGroup) -> list[int]:
        """Return how many entries of one of its matrices each rank of the group holds."""
        return [count_of(region[self.stacked :]) for region in self.regions(group.coordinates)]

    def replica_classes(self, group: RankGroup) -> list[Coordinate]:
        """Return classes of ranks whose pieces together are one replica of the whole matrix."""
        replicated = [dim for dim, placement in enumerate(self.placements) if not hasattr(placement, "dim")]
        return [tuple(coordinate[dim] for dim in replicated) for coordinate in group.coordinates]

    def state_bytes(self, shape: Iterable[int]) -> int:
        """Return the bytes of the state of a part of this shape."""
        return math.prod(shape) * self.dtype.itemsize * (2 if self.has_compensation else 1)


def coordinates_of(mesh: Sequence[int]) -> Iterator[Coordinate]:
    """Yield the coordinates of every rank, in order."""
    return product(*map(range, mesh))


def groups_along(mesh: Sequence[int], mesh_dims: Sequence[int]) -> list[RankGroup]:
    """Return the groups of ranks that differ only along these dimensions of the mesh.

    >>> [group.ranks for group in groups_along((2, 2), (0,))]
    [[0, 2], [1, 3]]
    """
    groups: dict[Coordinate, RankGroup] = {}
    for rank, coordinate in enumerate(coordinates_of(mesh)):
        fixed = tuple(at for dim, at in enumerate(coordinate) if dim not in mesh_dims)
        group = groups.setdefault(fixed, RankGroup([], []))
        group.ranks.append(rank)
        group.coordinates.append(coordinate)
    return list(groups.values())
