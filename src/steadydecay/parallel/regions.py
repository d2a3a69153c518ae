"""Compute which entries of a tensor each rank of a mesh holds, without communication."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

# Half-open ranges, one for each dimension of the whole tensor.
Region = tuple[tuple[int, int], ...]


@cache
def region_of(
    shape: tuple[int, ...], mesh_shape: tuple[int, ...], coordinate: tuple[int, ...], cuts: tuple[tuple[int, int], ...]
) -> Region:
    """Return the entries that one rank holds of a tensor.

    Each cut divides what the previous cuts have left into pieces of ⌈length/ranks⌉ (torch.chunk's rule), so the last
    ranks may hold fewer entries, or none.

    Args:
        shape: The shape of the whole tensor.
        mesh_shape: The number of ranks along each dimension of the mesh.
        coordinate: The coordinate of the rank in the mesh.
        cuts: The result of `cuts_in_order`.

    >>> [region_of((5, 3), (4,), (rank,), ((0, 0),)) for rank in range(4)]
    [((0, 2), (0, 3)), ((2, 4), (0, 3)), ((4, 5), (0, 3)), ((5, 5), (0, 3))]
    """
    bounds = [(0, length) for length in shape]
    for mesh_dim, dim in cuts:
        start, stop = bounds[dim]
        piece = -(-(stop - start) // mesh_shape[mesh_dim])
        first = min(stop, start + coordinate[mesh_dim] * piece)
        bounds[dim] = (first, min(stop, first + piece))
    return tuple(bounds)


def cuts_in_order(placements: Sequence[Any]) -> tuple[tuple[int, int], ...]:
    """Return (mesh dimension, tensor dimension) of every cut, in the order in which they were made.

    FSDP2 shards what tensor parallelism has left of a tensor, although its mesh dimension comes first. torch then calls
    its placement strided. All other cuts follow the order of the mesh.

    >>> from torch.distributed.tensor import Replicate, Shard
    >>> cuts_in_order([Replicate(), Shard(0), Shard(1)])
    ((1, 0), (2, 1))
    """
    cuts = [(index, placement.dim) for index, placement in enumerate(placements) if hasattr(placement, "dim")]
    is_late = [hasattr(placements[index], "split_factor") for index, _ in cuts]
    early = [cut for cut, late in zip(cuts, is_late, strict=True) if not late]
    late = [cut for cut, late in zip(cuts, is_late, strict=True) if late]
    return (*early, *reversed(late))


def size_of(region: Region) -> tuple[int, ...]:
    """Return the number of entries of a region along each dimension."""
    return tuple(stop - start for start, stop in region)


def index_of(region: Region) -> tuple[slice, ...]:
    """Return the index that selects a region from a whole tensor."""
    return tuple(slice(start, stop) for start, stop in region)


def count_of(region: Region) -> int:
    """Return the number of entries of a region."""
    return math.prod(stop - start for start, stop in region)


def positions_in(region: Region, shape: tuple[int, ...], device: torch.device | None = None) -> Tensor:
    """Return the position of each entry of a region in the whole tensor, counted row by row, as int64.

    >>> positions_in(((1, 2), (0, 3)), (2, 3)).tolist()
    [[3, 4, 5]]
    """
    positions = torch.zeros([1] * len(shape), dtype=torch.int64, device=device)
    for dim, (start, stop) in enumerate(region):
        along = torch.arange(start, stop, device=device).view(
            [-1 if dim == other else 1 for other in range(len(shape))]
        )
        positions = positions * shape[dim] + along
    return positions
