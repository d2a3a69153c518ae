"""Which weights have a gradient on any rank: a rank where one is missing must not leave the others waiting."""

from collections import defaultdict
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from steadydecay.parallel.cuts import Cut
from steadydecay.parallel.rank_groups import RankGroups


def gradients_of_others(cuts: Mapping[Tensor, Cut], peers: RankGroups) -> dict[Tensor, Tensor]:
    """Zeros for each weight that has a gradient on another rank of its mesh and none on this one.

    A weight without a gradient on any rank stays as it is. One collective for each mesh, of a byte for each weight.

    Args:
        cuts: of all weights that are cut, in the same order on every rank.
        peers: whose groups speak.
    """
    of_mesh: dict[DeviceMesh, list[Tensor]] = defaultdict(list)
    for weight, cut in cuts.items():
        of_mesh[cut.mesh].append(weight)
    absent: dict[Tensor, Tensor] = {}
    for mesh, weights in of_mesh.items():
        flags = [weight.grad is not None for weight in weights]
        is_present = torch.tensor(flags, dtype=torch.uint8, device=weights[0].device)
        dist.all_reduce(is_present, dist.ReduceOp.MAX, group=peers.along(mesh, range(mesh.ndim)).group)
        for weight, here, anywhere in zip(weights, flags, is_present.tolist(), strict=True):
            if anywhere and not here:
                absent[weight] = torch.zeros_like(weight)
    return absent
