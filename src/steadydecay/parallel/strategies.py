"""How the usual strategies lay a weight out over a mesh: torch's placements, one for each dimension of it.

None stands where the weight is a plain tensor, or a DTensor on a mesh that has no such dimension.
"""

from typing import Any, Literal

from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.placement_types import _StridedShard

Placements = tuple[Any, ...]
# How tensor parallelism cuts a weight: its rows (ColwiseParallel), its columns (RowwiseParallel), or not at all.
TensorCut = Literal["rows", "columns"] | None


def plain(mesh_dims: int = 1) -> Placements:
    """A plain tensor on every rank."""
    return (None,) * mesh_dims


def rows_of_replicas(dimensions: int) -> Placements:
    """How ranks that all hold a weight (`DistributedDataParallel`) share it: by the rows of each of its matrices."""
    return (Shard(max(0, dimensions - 2)),)


def fsdp() -> Placements:
    """`fully_shard` over a mesh of one dimension: rows of the first dimension."""
    return (Shard(0),)


def hsdp() -> Placements:
    """`fully_shard` over a mesh (replicas, shards)."""
    return (Replicate(), Shard(0))


def tensor_parallel(cut: TensorCut) -> Placements:
    """`parallelize_module` over a mesh of one dimension."""
    return (None if cut is None else Shard(0 if cut == "rows" else 1),)


def fsdp_of_tensor_parallel(cut: TensorCut, tensor_ranks: int) -> Placements:
    """`fully_shard` of what tensor parallelism has cut, over a mesh (shards, tensor ranks)."""
    if cut == "rows":
        return (_StridedShard(0, split_factor=tensor_ranks), Shard(0))
    return (Shard(0), *tensor_parallel(cut))


def fsdp_of_experts(experts: int, shards: int, expert_ranks: int) -> Placements:
    """A stack (experts, rows, columns) over a mesh (shards, expert ranks), as torchtitan lays it out.

    Where there are fewer experts than ranks, `fully_shard` cuts the rows of each.
    """
    if experts < shards * expert_ranks:
        return (Shard(1), Shard(0))
    return (_StridedShard(0, split_factor=expert_ranks), Shard(0))
