"""Updates whose vectors (rows, columns, biases) are sharded over ranks: only their lengths travel, as sums."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from steadydecay.parallel.cuts import Cut
from steadydecay.parallel.rank_groups import RankGroups, Ranks


class CutVectors(NamedTuple):
    """This rank's part of a tensor of vectors.

    Attributes:
        part: The local part in float32 or better, which is overwritten.
        dims: The dimensions (not negative) of the tensor that make up a vector.
        length: The length that every vector gets.
        cut: How the tensor is sharded.
    """

    part: Tensor
    dims: tuple[int, ...]
    length: float
    cut: Cut


def unit_vectors_over_ranks_(of: Sequence[CutVectors], peers: RankGroups) -> None:
    """Compute x ← length · x / ‖x‖₂ in place for every vector, with two collectives for each group of ranks. Zero stays
    zero.

    This does the same as `steadydecay.tensors.unit_vectors`, with the largest entry and the sum of squares over all
    ranks.
    """
    largest = [_over(torch.amax, vectors.part.abs(), vectors.dims) for vectors in of]
    _reduce(largest, of, dist.ReduceOp.MAX, peers)
    for vectors, most in zip(of, largest, strict=True):
        vectors.part.div_(most.where(most != 0, 1))
    squares = [_over(torch.sum, vectors.part.square(), vectors.dims) for vectors in of]
    _reduce(squares, of, dist.ReduceOp.SUM, peers)
    for vectors, square in zip(of, squares, strict=True):
        norm = square.sqrt()
        vectors.part.div_(norm.where(norm != 0, 1) / vectors.length)


def _over(reduce: Callable[..., Tensor], x: Tensor, dims: tuple[int, ...]) -> Tensor:
    if x.numel() == 0:
        return x.new_zeros([1 if dim in dims else length for dim, length in enumerate(x.shape)])
    return reduce(x, dim=dims, keepdim=True)


def _reduce(partial: Sequence[Tensor], of: Sequence[CutVectors], operation: Any, peers: RankGroups) -> None:
    """Replace each by its result over the ranks along which its vectors are sharded."""
    together: dict[Any, tuple[Ranks, list[Tensor]]] = {}
    lists: dict[Any, list[Tensor]] = defaultdict(list)
    for tensor, vectors in zip(partial, of, strict=True):
        mesh_dims = vectors.cut.cutting(vectors.dims)
        key = (vectors.cut.mesh, mesh_dims, tensor.dtype)
        together[key] = (peers.along(vectors.cut.mesh, mesh_dims), lists[key])
        lists[key].append(tensor)
    for ranks, tensors in together.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat, operation, group=ranks.group)
        for tensor, reduced in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(reduced.view_as(tensor))
