"""Decide which rank owns which matrix, and which matrices travel together, with the same result on every rank."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from steadydecay.optim.batches.cut_parts import CutPart
from steadydecay.optim.batches.shape_batches import effort, lmo_dtype
from steadydecay.parallel.exchange import Sharers, Unit
from steadydecay.parallel.owners import Work, dealt
from steadydecay.parallel.rank_groups import RankGroups, Ranks

# The size of a bucket for each rank that shares it: a small model has several buckets, and there are few collectives.
BYTES_OF_A_RANK = 2**23


class Bucket(NamedTuple):
    """Matrices that are exchanged together.

    Attributes:
        indices: The indices of the parts in the list from which the plan was made.
        units: The units of each part, in the same order.
        sharers: The ranks that share them.
        update_dtype: The dtype in which updates travel.
    """

    indices: list[int]
    units: list[list[Unit]]
    sharers: Sharers
    update_dtype: torch.dtype


def planned(matrices: Sequence[CutPart], peers: RankGroups) -> list[Bucket]:
    """Return buckets in the order in which every rank exchanges them, with one small collective per group of ranks.

    Small groups are planned first. The work that a rank has for them counts when a larger group is planned, which can
    make up for it.
    """
    shared: dict[Any, list[int]] = defaultdict(list)
    for index, one in enumerate(matrices):
        # Ranks beyond the last expert of a stack hold nothing, and neither do those that share with them.
        if one.entries():
            shared[one.cut.mesh, one.shared].append(index)
    groups = [(peers.along(*along), indices) for along, indices in shared.items()]
    buckets: list[Bucket] = []
    own_load = 0
    for ranks, indices in sorted(groups, key=lambda group: group[0].size):
        dtypes, loads = _agreed([matrices[at] for at in indices], ranks, own_load)
        alike: dict[Any, list[int]] = defaultdict(list)
        for index, dtype in zip(indices, dtypes, strict=True):
            average = matrices[index].part.average
            alike[average.dtype, average.device, dtype, matrices[index].pieces].append(index)
        for (_, _, dtype, piece_dims), same in alike.items():
            one = matrices[same[0]]
            replica_dims = tuple(dim for dim in one.shared if dim not in piece_dims)
            sharers = Sharers(peers.along(one.cut.mesh, piece_dims), peers.along(one.cut.mesh, replica_dims))
            buckets += _buckets(matrices, same, sharers, ranks, dtype, loads)
        own_load = loads[ranks.rank]
    return buckets


def _buckets(
    matrices: Sequence[CutPart],
    indices: list[int],
    sharers: Sharers,
    ranks: Ranks,
    dtype: torch.dtype,
    loads: list[int],
) -> Iterator[Bucket]:
    """Return the buckets of one dtype. `loads` is the work that each rank already has, and is written to."""
    work = [_work(matrices[index]) for index in indices]
    pieces = matrices[indices[0]].pieces
    replica_of = [tuple(place for dim, place in enumerate(at) if dim not in pieces) for at in ranks.coordinates]
    for bucket in dealt(work, ranks.size, ranks.size * BYTES_OF_A_RANK, loads, replica_of):
        of_bucket = [(indices[place], owners) for place, owners in bucket]
        units = [_units(matrices[index], [ranks.coordinates[owner] for owner in owners]) for index, owners in of_bucket]
        yield Bucket([index for index, _ in of_bucket], units, sharers, dtype)


def _work(one: CutPart) -> Work:
    like, count = one.one_unread(), len(one.entries())
    return Work(one.cut.shape, count, effort(one.norm, like), count * like.numel() * like.itemsize)


def _units(one: CutPart, owners: Sequence[tuple[int, ...]]) -> list[Unit]:
    return [Unit(one.cut, entry, owner) for entry, owner in zip(one.entries(), owners, strict=True)]


def _agreed(parts: Sequence[CutPart], ranks: Ranks, own_load: int) -> tuple[list[torch.dtype], list[int]]:
    """Return the dtype in which each update travels, and the work that each rank already has.

    The dtype is that of the products if all ranks, whose processors may differ, use it.
    """
    chosen = [_lmo_dtype(one) for one in parts]
    own_loads = [own_load if place == ranks.rank else 0 for place in range(ranks.size)]
    told = [dtype.itemsize for dtype in chosen] + own_loads
    agreed = torch.tensor(told, dtype=torch.int64, device=parts[0].part.average.device)
    dist.all_reduce(agreed, dist.ReduceOp.MAX, group=ranks.group)
    sizes, loads = agreed[: len(parts)].tolist(), agreed[len(parts) :].tolist()
    return [
        dtype if dtype.itemsize == size else one.part.average.dtype
        for one, dtype, size in zip(parts, chosen, sizes, strict=True)
    ], loads


def _lmo_dtype(one: CutPart) -> torch.dtype:
    return lmo_dtype(one.norm, one.one_unread())
