"""What this process holds of a tensor, and sums over those that hold the rest."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.placement_types import Shard


class Sharding(NamedTuple):
    """A tensor cut along its first dimension over the ranks of a group, as FSDP2 does.

    Attributes:
        group: the process group.
        rank, size: this process in it, and how many there are.
    """

    group: Any
    rank: int
    size: int

    def first_row(self, rows: int) -> int:
        """Where this rank's part of `rows` begins (torch.chunk's rule)."""
        return min(rows, self.rank * -(-rows // self.size))


def sharding_of(tensor: Tensor) -> Sharding | None:
    """How the tensor is cut; None for one that is whole here, or whose layout is another (tensor parallelism)."""
    if not isinstance(tensor, DTensor):
        return None
    mesh = tensor.device_mesh
    cut = [index for index, placement in enumerate(tensor.placements) if not placement.is_replicate()]
    if len(cut) != 1 or tensor.placements[cut[0]] != Shard(0):
        return None
    return Sharding(mesh.get_group(cut[0]), mesh.get_local_rank(cut[0]), mesh.size(cut[0]))


def local_part(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """The part of a tensor that `sharding_of` says is here; all of it where that is None. Called under no_grad.

    Args:
        tensor: a weight, or a gradient or state of one.
        like: that weight, whose layout the others are brought to.
    """
    if type(tensor) in (Tensor, nn.Parameter) and not (tensor.is_sparse or tensor.is_complex()):
        # As it is: 10⁵ views of small weights take a second.
        return tensor
    tensor = tensor.detach()
    if isinstance(tensor, DTensor):
        # Under DDP the state of a whole weight may be cut.
        is_alike = like is None or isinstance(like, DTensor)
        if isinstance(like, DTensor) and like.placements != tensor.placements:
            tensor = tensor.redistribute(like.device_mesh, like.placements)
        tensor = tensor.to_local() if is_alike and sharding_of(tensor) else tensor.full_tensor()
    tensor = tensor.to_dense() if tensor.is_sparse else tensor
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def sum_over_ranks(partial: Sequence[tuple[Sharding | None, list[Tensor]]]) -> None:
    """Replace tensors of sharded weights by their sums over the ranks, in place: one collective for each group.

    Every rank calls it with tensors of the same shapes in the same order; no rank waits for its device.
    """
    of_group: dict[Any, list[Tensor]] = defaultdict(list)
    for sharding, tensors in partial:
        if sharding is not None:
            of_group[sharding.group] += tensors
    for group, tensors in of_group.items():
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat, group=group)
        for tensor, summed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))
