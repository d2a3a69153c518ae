"""Owners and buckets of hypothetical weights, as `steadydecay.optim.batches.owner_plan` makes them for real ones."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from steadydecay.norms.protocol import LmoCost
from steadydecay.optim.batches.laid_out import LaidOutWeight, RankGroup
from steadydecay.optim.batches.shape_batches import effort, lmo_cost, lmo_dtype
from steadydecay.parallel.owners import Work, dealt
from steadydecay.parallel.regions import cuts_in_order, size_of


class Matrices(NamedTuple):
    """The matrices of one weight that a group of ranks shares.

    Attributes:
        weight: The weight.
        number: The number of matrices.
        cost: The cost of the LMO of one of them.
    """

    weight: LaidOutWeight
    number: int
    cost: LmoCost

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one matrix."""
        return self.weight.shape[self.weight.stacked :]

    @property
    def entries(self) -> int:
        """The number of entries of one matrix."""
        return math.prod(self.shape)


# For weights laid out alike, the index in the group of the owner of each of their matrices.
Bucket = dict[Matrices, list[int]]


def plan_of(
    weights: Sequence[LaidOutWeight], group: RankGroup, bucket_bytes: int, like: Tensor, loads: list[int]
) -> list[Bucket]:
    """Return the buckets that a group of ranks exchanges, in order.

    Args:
        weights: The weights that the group shares, of one dtype.
        group: The ranks.
        bucket_bytes: The smallest size of a bucket for each rank.
        like: A tensor on the device that multiplies.
        loads: The loads of `owners_of`, which writes to them.
    """
    found_of = {weight: _matrices(weight, group, like) for weight in dict.fromkeys(weights)}
    found = [found_of[weight] for weight in weights]
    ranks = len(group.ranks)
    replica_of = weights[0].replica_classes(group)
    buckets = dealt([_work(one, like) for one in found], ranks, ranks * bucket_bytes, loads, replica_of)
    return [together((found[index], owners) for index, owners in bucket) for bucket in buckets]


def together(of: Iterable[tuple[Matrices, list[int]]]) -> Bucket:
    """Combine matrices laid out alike into one entry."""
    bucket: Bucket = {}
    for matrices, owners in of:
        bucket.setdefault(matrices, []).extend(owners)
    return bucket


def update_dtype(weight: LaidOutWeight, like: Tensor) -> torch.dtype:
    """Return the dtype in which updates of its matrices travel, if all ranks have the same kind of device."""
    return lmo_dtype(weight.norm, _one(weight, like))


def _matrices(weight: LaidOutWeight, group: RankGroup, like: Tensor) -> Matrices:
    held = size_of(*weight.regions(group.coordinates[:1]))
    cut = {dim for _, dim in cuts_in_order(weight.placements)}
    number = math.prod(held[dim] if dim in cut else weight.shape[dim] for dim in range(weight.stacked))
    return Matrices(weight, number, lmo_cost(weight.norm, _one(weight, like)))


def _work(matrices: Matrices, like: Tensor) -> Work:
    weight, number = matrices.weight, matrices.number
    size = number * matrices.entries * weight.dtype.itemsize
    return Work(weight.shape, number, effort(weight.norm, _one(weight, like)), size)


def _one(weight: LaidOutWeight, like: Tensor) -> Tensor:
    """Return a tensor with the shape and dtype of one of its matrices, but without its memory."""
    return like.to(weight.dtype).expand(weight.shape[weight.stacked :])
