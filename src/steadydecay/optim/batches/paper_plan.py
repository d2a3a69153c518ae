"""Owners and buckets of weights on paper, as `steadydecay.optim.batches.owner_plan` makes them of real ones."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from steadydecay.norms.protocol import LmoCost, Norm
from steadydecay.optim.batches.laid_out import LaidOutWeight, RankGroup
from steadydecay.parallel.owners import buckets_of, owners_of
from steadydecay.parallel.regions import cuts_in_order, size_of


class Matrices(NamedTuple):
    """Those of one weight that a group of ranks shares.

    Attributes:
        weight: that they are of.
        number: of them.
        cost: of the lmo of one.
    """

    weight: LaidOutWeight
    number: int
    cost: LmoCost

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one."""
        return self.weight.shape[self.weight.stacked :]

    @property
    def entries(self) -> int:
        """Of one."""
        return math.prod(self.shape)


# Of weights laid out alike: the place in the group of the owner of each of their matrices.
Bucket = dict[Matrices, list[int]]


def plan_of(
    weights: Sequence[LaidOutWeight], group: RankGroup, bucket_bytes: int, like: Tensor, loads: list[int]
) -> list[Bucket]:
    """The buckets that a group of ranks exchanges, in order.

    Args:
        weights: that the group shares, of one dtype.
        group: the ranks.
        bucket_bytes: of a bucket, for each rank, at least.
        like: whose device multiplies.
        loads: of `owners_of`, which writes to it.
    """
    found_of = {weight: _matrices(weight, group, like) for weight in dict.fromkeys(weights)}
    found = [found_of[weight] for weight in weights]
    order = sorted(range(len(found)), key=lambda index: (-_effort(found[index]), weights[index].shape, index))
    ordered = [found[index] for index in order]
    ranks, numbers = len(group.ranks), [one.number for one in ordered]
    owners = owners_of([_effort(one) for one in ordered for _ in range(one.number)], ranks, loads)
    of_each = [owners[start:stop] for start, stop in pairwise(accumulate(numbers, initial=0))]
    sizes = [one.number * one.entries * one.weight.dtype.itemsize for one in ordered]
    runs = buckets_of(numbers, sizes, ranks, ranks * bucket_bytes)
    return [together(zip(ordered[run], of_each[run], strict=True)) for run in runs]


def together(of: Iterable[tuple[Matrices, list[int]]]) -> Bucket:
    """Matrices laid out alike as one entry."""
    bucket: Bucket = {}
    for matrices, owners in of:
        bucket.setdefault(matrices, []).extend(owners)
    return bucket


def update_dtype(weight: LaidOutWeight, like: Tensor) -> torch.dtype:
    """In which the updates of its matrices travel, if all ranks have the same kind of device."""
    own = getattr(weight.norm, "lmo_dtype", None)
    one = like.to(weight.dtype).expand(weight.shape[weight.stacked :])
    return one.dtype if own is None else own(one)


def lmo_cost(norm: Norm, direction: Tensor) -> LmoCost:
    """As the norm says; a norm that does not say multiplies no matrices."""
    own = getattr(norm, "lmo_cost", None)
    return LmoCost(0, 0) if own is None else own(direction)


def _matrices(weight: LaidOutWeight, group: RankGroup, like: Tensor) -> Matrices:
    held = size_of(*weight.regions(group.coordinates[:1]))
    cut = {dim for _, dim in cuts_in_order(weight.placements)}
    number = math.prod(held[dim] if dim in cut else weight.shape[dim] for dim in range(weight.stacked))
    one = like.to(weight.dtype).expand(weight.shape[weight.stacked :])
    return Matrices(weight, number, lmo_cost(weight.norm, one))


def _effort(matrices: Matrices) -> int:
    return matrices.cost.multiplications or matrices.entries
