"""Four ranks, a model whose weights are laid over them in many ways, and gradients to match; whole on every rank first.

Not a test: programs that run on ranks import it. All numbers are float64, and sizes do not divide by the ranks.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module

from steadydecay.parallel.shards import local_part, part_of_whole, sharding_of

RANKS = 4
WHOLE = Replicate()
# Left plain wherever FSDP2 does not take all parameters.
BESIDE = ("plain",)


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 9), nn.Linear(9, 8)
        self.square, self.other = nn.Linear(8, 8), nn.Linear(8, 8, bias=False)
        self.qkv = nn.Linear(8, 24, bias=False)
        # On four ranks one has no row of these.
        self.few = nn.Linear(8, 3)
        self.stack = nn.Parameter(torch.randn(3, 4, 6) / 3)
        # Wider than the vectors of a spectral norm.
        self.wide = nn.Linear(37, 41, bias=False)
        self.plain = nn.Parameter(torch.randn(5, 6) / 3)
        self.double()


def whole_model() -> Layers:
    torch.manual_seed(0)
    return Layers()


def named_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Two groups of matrices, the two of one shape in one of them, and one of vectors; each with names."""
    named = list(model.named_parameters())
    matrices, vectors = [p for p in named if p[1].ndim > 1], [p for p in named if p[1].ndim < 2]
    parts = ((matrices[:6], "hidden"), (matrices[6:], "embedding"), (vectors, "vector"))
    return [{"params": [p for _, p in part], "param_names": [n for n, _ in part], "role": role} for part, role in parts]


def rows(mesh: DeviceMesh, parameter: Tensor, at: int) -> list[Placement]:
    return [Shard(0)]


def last_dimension(mesh: DeviceMesh, parameter: Tensor, at: int) -> list[Placement]:
    return [Shard(parameter.ndim - 1)]


def replicas_of_rows(mesh: DeviceMesh, parameter: Tensor, at: int) -> list[Placement]:
    return [WHOLE, Shard(0)]


def both_dimensions(mesh: DeviceMesh, parameter: Tensor, at: int) -> list[Placement]:
    return [Shard(0), Shard(parameter.ndim - 1)] if parameter.ndim > 1 else [Shard(0), WHOLE]


def columns_twice(mesh: DeviceMesh, parameter: Tensor, at: int) -> list[Placement]:
    return [Shard(parameter.ndim - 1)] * 2


def each_another_way(mesh: DeviceMesh, parameter: Tensor, at: int) -> list[Placement]:
    """`square.weight` and `other.weight`, the 7th and the 9th, are cut alike along different dimensions of the mesh."""
    last = Shard(parameter.ndim - 1)
    ways: list[list[Placement]] = [[last, WHOLE], [Shard(0), WHOLE], [WHOLE, last], [WHOLE, Shard(0)], [WHOLE, WHOLE]]
    return ways[at % len(ways)]


Way = Callable[[DeviceMesh, Tensor, int], list[Placement]]
WAYS: dict[str, tuple[tuple[int, ...], Way]] = {
    "rows": ((4,), rows),
    "columns": ((4,), last_dimension),
    "hsdp": ((2, 2), replicas_of_rows),
    "grid": ((2, 2), both_dimensions),
    "columns twice": ((2, 2), columns_twice),
    "each another way": ((2, 2), each_another_way),
}
LAYOUTS = (*WAYS, "tp", "tp and fsdp2")
# Without "tp", in which two pairs of ranks know nothing of each other.
OF_ALL_RANKS = tuple(layout for layout in LAYOUTS if layout != "tp")
# Where the layout is not the point of a test.
FEW_LAYOUTS = ("rows", "tp and fsdp2")
WITH_REPLICAS = (*FEW_LAYOUTS, "hsdp")


def laid_out(layout: str, meshes: dict[tuple[int, ...], DeviceMesh]) -> Any:
    model = whole_model()
    if layout.startswith("tp"):
        plan: dict[str, ParallelStyle] = {name: ColwiseParallel() for name in ("up", "square")}
        plan |= {name: RowwiseParallel() for name in ("down", "other")}
        parallelize_module(model, meshes[2, 2]["tensor"], plan)
        return fully_shard(model, mesh=meshes[2, 2]["data"]) if layout == "tp and fsdp2" else model
    shape, way = WAYS[layout]
    for at, (name, parameter) in enumerate(list(model.named_parameters())):
        if name not in BESIDE:
            owner, _, leaf = name.rpartition(".")
            placed = placed_as(parameter.detach(), meshes[shape], way(meshes[shape], parameter, at))
            setattr(model.get_submodule(owner), leaf, nn.Parameter(placed))
    return model


def made_meshes() -> dict[tuple[int, ...], DeviceMesh]:
    return {
        (4,): init_device_mesh("cpu", (4,)),
        (2, 2): init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor")),
    }


def placed_as(whole: Tensor, mesh: DeviceMesh, placements: Any) -> DTensor:
    """A DTensor of it; not by `distribute_tensor`, which knows no strided shards."""
    like = DTensor.from_local(torch.empty(0), mesh, placements, shape=whole.shape, stride=whole.stride())
    here = part_of_whole(whole, sharding_of(like)).clone(memory_format=torch.contiguous_format)
    return DTensor.from_local(here, mesh, placements, run_check=False, shape=whole.shape, stride=whole.stride())


def give_gradients(model: nn.Module, step: int, *, are_sums: bool = False, without: str = "") -> None:
    """The same gradients whatever the layout.

    Args:
        are_sums: whether each rank that has the same of a DTensor has a part of its gradient's sum.
        without: a parameter that has no gradient.
    """
    generator = torch.Generator().manual_seed(step)
    for name, parameter in model.named_parameters():
        gradient = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if name == without:
            parameter.grad = None
        elif not isinstance(parameter, DTensor):
            parameter.grad = gradient.clone()
        else:
            parameter.grad = _gradient_of(parameter, gradient, are_sums)


def _gradient_of(parameter: DTensor, gradient: Tensor, are_sums: bool) -> DTensor:
    mesh, placements = parameter.device_mesh, list(parameter.placements)
    if not are_sums:
        return placed_as(gradient, mesh, placements)
    share = 1
    for at, placement in enumerate(placements):
        if placement.is_replicate():
            placements[at], share = Partial(), share * mesh.size(at)
    return placed_as(gradient / share, mesh, placements)


def largest_difference(model: nn.Module, expected: nn.Module) -> float:
    """Of an entry that this rank has."""
    pairs = zip(model.parameters(), expected.parameters(), strict=True)
    parts = ((local_part(one), part_of_whole(other, sharding_of(one))) for one, other in pairs)
    return max(float((here - other).detach().abs().max()) for here, other in parts if here.numel())


def of_all_ranks(found: Any) -> list[Any]:
    """What each rank found."""
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, found)
    return gathered


class CountedReductions:
    """How often this rank takes part in an all_reduce of plain tensors within."""

    def __enter__(self) -> "CountedReductions":
        self.count, self._all_reduce = 0, dist.all_reduce

        def counted(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            return self._all_reduce(*arguments, **options)

        dist.all_reduce = counted
        return self

    def __exit__(self, *exception: object) -> None:
        dist.all_reduce = self._all_reduce
