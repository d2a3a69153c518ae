"""Agree on which weights have a gradient on any rank, so that a rank without one does not keep others waiting."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from steadydecay.parallel.cuts import Cut, zeros_laid_out
from steadydecay.parallel.rank_groups import RankGroups, Ranks
from steadydecay.parallel.shards import local_part


class _Held(NamedTuple):
    """How a rank holds a gradient.

    Attributes:
        dtype: The dtype of the gradient.
        placements: The placements of torch's DTensor, or None for a plain tensor, which every rank of the mesh has
            whole.
    """

    dtype: torch.dtype
    placements: tuple[Any, ...] | None


@torch.no_grad()
def agree_on_gradients(cuts: Mapping[Tensor, Cut], peers: RankGroups) -> None:
    """Create a gradient for each weight that has one on another rank of its mesh but not on this rank.

    It is the gradient of the ranks that hold the same part, or zero if there are none. A weight without a gradient on
    any rank stays without. While the ranks agree, this takes one collective for each mesh, of two bytes for each
    weight.

    Args:
        cuts: Cuts of all sharded weights, in the same order on every rank. The weights' `grad` is written to.
        peers: The process groups to use.
    """
    of_mesh: dict[DeviceMesh, list[Tensor]] = defaultdict(list)
    for weight, cut in cuts.items():
        of_mesh[cut.mesh].append(weight)
    for mesh, weights in of_mesh.items():
        ranks = peers.along(mesh, range(mesh.ndim))
        disputed = _disputed(weights, ranks)
        if disputed:
            for weight, held in zip(disputed, _held_by_each(disputed, ranks), strict=True):
                _settle(weight, cuts[weight], held, ranks, peers)


def _disputed(weights: Sequence[Tensor], ranks: Ranks) -> list[Tensor]:
    """Return weights that have a gradient on some ranks and none on others."""
    flags = [(weight.grad is not None, weight.grad is None) for weight in weights]
    anywhere = torch.tensor(flags, dtype=torch.uint8, device=weights[0].device)
    dist.all_reduce(anywhere, dist.ReduceOp.MAX, group=ranks.group)
    return [weight for weight, found in zip(weights, anywhere.tolist(), strict=True) if all(found)]


def _held_by_each(weights: Sequence[Tensor], ranks: Ranks) -> list[list[_Held | None]]:
    """Return, for each weight, how each rank holds its gradient."""
    by_rank: list[Any] = [None] * ranks.size
    dist.all_gather_object(by_rank, [_held(weight.grad) for weight in weights], group=ranks.group)
    return list(map(list, zip(*by_rank, strict=True)))


def _held(gradient: Tensor | None) -> _Held | None:
    if gradient is None:
        return None
    return _Held(gradient.dtype, tuple(gradient.placements) if isinstance(gradient, DTensor) else None)


def _settle(weight: Tensor, cut: Cut, held: Sequence[_Held | None], ranks: Ranks, peers: RankGroups) -> None:
    dtype, placements = next(one for one in held if one is not None)
    if weight.grad is None:
        weight.grad = _zeros(weight, cut, dtype, placements)
    mesh_dims = range(cut.mesh.ndim)
    replicas = [dim for dim in mesh_dims if placements is None or placements[dim].is_replicate()]
    here = ranks.coordinates[ranks.rank]
    has_same = [
        one is not None
        for one, at in zip(held, ranks.coordinates, strict=True)
        if all(at[dim] == here[dim] for dim in mesh_dims if dim not in replicas)
    ]
    if any(has_same) and not all(has_same):
        # Take the mean of equal gradients, also on ranks that have one, so that rounding does not make ranks differ.
        gradient = weight.grad.to_local() if isinstance(weight.grad, DTensor) else weight.grad
        summed = gradient.contiguous()
        dist.all_reduce(summed, group=peers.along(cut.mesh, replicas).group)
        gradient.copy_(summed / sum(has_same))


def _zeros(weight: Tensor, cut: Cut, dtype: torch.dtype, placements: tuple[Any, ...] | None) -> Tensor:
    if placements is None:
        return torch.zeros_like(weight, dtype=dtype)
    return zeros_laid_out(Cut(cut.shape, cut.mesh, placements), local_part(weight).new_empty(0, dtype=dtype))
