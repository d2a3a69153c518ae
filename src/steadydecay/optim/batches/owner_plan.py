"""Which rank owns which matrix, and which matrices travel together; the same on every rank that asks."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from steadydecay.optim.batches.cut_parts import CutPart
from steadydecay.optim.batches.shape_batches import lmo_cost
from steadydecay.parallel.exchange import Sharers, Unit
from steadydecay.parallel.owners import buckets_of, owners_of
from steadydecay.parallel.rank_groups import RankGroups, Ranks

# Of a bucket, for each rank that shares it: several buckets of a small model, and few collectives.
BYTES_OF_A_RANK = 2**23


class Bucket(NamedTuple):
    """Matrices that are exchanged together.

    Attributes:
        indices: of the parts in the list that the plan was made of.
        units: of each part, in the same order.
        sharers: the ranks that share them.
        update_dtype: in which updates travel.
    """

    indices: list[int]
    units: list[list[Unit]]
    sharers: Sharers
    update_dtype: torch.dtype


def planned(matrices: Sequence[CutPart], peers: RankGroups) -> list[Bucket]:
    """Buckets in the order in which every rank exchanges them; one small collective for each group of ranks."""
    shared: dict[Any, list[int]] = defaultdict(list)
    for index, one in enumerate(matrices):
        # Ranks beyond the last expert of a stack hold none, and neither do those that share with them.
        if one.entries():
            shared[one.cut.mesh, one.shared].append(index)
    buckets: list[Bucket] = []
    for (mesh, mesh_dims), indices in shared.items():
        ranks, loads = peers.along(mesh, mesh_dims), list[int]()
        alike: dict[Any, list[int]] = defaultdict(list)
        for index, dtype in zip(indices, _agreed_dtypes([matrices[at] for at in indices], ranks), strict=True):
            average = matrices[index].part.average
            alike[average.dtype, average.device, dtype, matrices[index].pieces].append(index)
        for (_, _, dtype, piece_dims), same in alike.items():
            replica_dims = tuple(dim for dim in mesh_dims if dim not in piece_dims)
            sharers = Sharers(peers.along(mesh, piece_dims), peers.along(mesh, replica_dims))
            buckets += _buckets(matrices, same, sharers, ranks, dtype, loads)
    return buckets


def _buckets(
    matrices: Sequence[CutPart],
    indices: list[int],
    sharers: Sharers,
    ranks: Ranks,
    dtype: torch.dtype,
    loads: list[int],
) -> Iterator[Bucket]:
    """Those of one dtype; `loads` is what each of the ranks has to do already, and is written to."""
    costs = {index: _cost_of_one(matrices[index]) for index in indices}
    # The longest first, and those of one shape together.
    ordered = sorted(indices, key=lambda index: (-costs[index], matrices[index].cut.shape, index))
    entries = [matrices[index].entries() for index in ordered]
    each = [costs[index] for index, of_one in zip(ordered, entries, strict=True) for _ in of_one]
    owners = (ranks.coordinates[owner] for owner in owners_of(each, ranks.size, loads))
    units = [
        [Unit(matrices[index].cut, entry, next(owners)) for entry in of_one]
        for index, of_one in zip(ordered, entries, strict=True)
    ]
    sizes = [
        len(of_one) * matrices[index].one_unread().numel() * matrices[index].part.average.itemsize
        for index, of_one in zip(ordered, entries, strict=True)
    ]
    for run in buckets_of(list(map(len, units)), sizes, ranks.size, ranks.size * BYTES_OF_A_RANK):
        yield Bucket(ordered[run], units[run], sharers, dtype)


def _cost_of_one(one: CutPart) -> int:
    like = one.one_unread()
    return lmo_cost(one.norm, like).multiplications or math.prod(like.shape)


def _agreed_dtypes(parts: Sequence[CutPart], peers: Ranks) -> list[torch.dtype]:
    """Of the updates: the products' where every rank multiplies in it, for their processors need not be alike."""
    chosen = [_lmo_dtype(one) for one in parts]
    widest = torch.tensor([dtype.itemsize for dtype in chosen], device=parts[0].part.average.device)
    dist.all_reduce(widest, dist.ReduceOp.MAX, group=peers.group)
    return [
        dtype if dtype.itemsize == size else one.part.average.dtype
        for one, dtype, size in zip(parts, chosen, widest.tolist(), strict=True)
    ]


def _lmo_dtype(one: CutPart) -> torch.dtype:
    own, like = getattr(one.norm, "lmo_dtype", None), one.one_unread()
    return like.dtype if own is None else own(like)
