"""How the usual strategies lay a weight out over a mesh: torch's placements, one for each dimension of the mesh.

None stands for a dimension along which the weight is a plain tensor, or a DTensor whose mesh has no such dimension.
"""

from typing import Any, Literal

from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.placement_types import _StridedShard

Placements = tuple[Any, ...]
# How tensor parallelism shards a weight: its rows (ColwiseParallel), its columns (RowwiseParallel), or not at all.
TensorCut = Literal["rows", "columns"] | None


def plain(mesh_dims: int = 1) -> Placements:
    """Return the placements of a plain tensor on every rank."""
    return (None,) * mesh_dims


def rows_of_replicas(dimensions: int) -> Placements:
    """Return how ranks that all hold a weight (`DistributedDataParallel`) share it, by the rows of each matrix."""
    return (Shard(max(0, dimensions - 2)),)


def fsdp() -> Placements:
    """Return the placements of `fully_shard` over a one-dimensional mesh, which shards the first dimension."""
    return (Shard(0),)


def hsdp() -> Placements:
    """Return the placements of `fully_shard` over a mesh (replicas, shards)."""
    return (Replicate(), Shard(0))


def tensor_parallel(cut: TensorCut) -> Placements:
    """Return the placements of `parallelize_module` over a one-dimensional mesh."""
    return (None if cut is None else Shard(0 if cut == "rows" else 1),)


def fsdp_of_tensor_parallel(cut: TensorCut, tensor_ranks: int) -> Placements:
    """Return the placements of `fully_shard` after tensor parallelism, over a mesh (shards, tensor ranks)."""
    if cut == "rows":
        return (_StridedShard(0, split_factor=tensor_ranks), Shard(0))
    return (Shard(0), *tensor_parallel(cut))


def fsdp_of_experts(experts: int, shards: int, expert_ranks: int) -> Placements:
    """Return the placements of a stack (experts, rows, columns) over a mesh (shards, expert ranks), as in torchtitan.

    If there are fewer experts than ranks, `fully_shard` shards the rows of each.
    """
    if experts < shards * expert_ranks:
        return (Shard(1), Shard(0))
    return (_StridedShard(0, split_factor=expert_ranks), Shard(0))
