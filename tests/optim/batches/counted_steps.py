"""Run on four ranks: steps of small models under every strategy, with what each rank really does.

Writes, by case and rank: bytes that came, went and were reduced, products, state, and how each weight is laid out.
"""

import gc
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

import steadydecay as sd
from steadydecay.bench.memory import allocations
from steadydecay.norms.spectral import Spectral
from steadydecay.optim.batches import owner_plan

# So small that the matrices below are several buckets.
BUCKET_BYTES = 1500
# Of larger matrices, whose temporaries are measured: several buckets again.
LARGE_BUCKET_BYTES = 2**18
LARGE_SHAPES = [(256, 256), (256, 512)] * 8
NORMS = {
    "tokens": "sign",
    "up": "spectral",
    "gate": "spectral",
    "middle": "spectral",
    "down": "spectral",
    "columns": "col_norm",
    "rows": "row_norm",
    "experts": "spectral",
    "gain": "bias",
}
COUNTS = ("received_bytes", "sent_bytes", "reduced_bytes", "multiplications", "state_bytes")


class Model(nn.Module):
    """No number of rows or columns is a multiple of the number of ranks throughout."""

    def __init__(self, width: int = 18) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(11, width))
        self.up = nn.Linear(width, 2 * width + 1, bias=False)
        self.gate = nn.Linear(width, 2 * width + 1, bias=False)
        self.middle = nn.Linear(2 * width + 1, width, bias=False)
        self.down = nn.Linear(2 * width + 1, width, bias=False)
        self.columns = nn.Parameter(torch.randn(7, width))
        self.rows = nn.Parameter(torch.randn(3, 5))
        self.experts = nn.Parameter(torch.randn(5, 6, 10))
        self.gain = nn.Parameter(torch.randn(width))


TENSOR_PARALLEL = {"up": ColwiseParallel(), "gate": ColwiseParallel(), "down": RowwiseParallel()}


def ddp(group: Any) -> Callable[[], nn.Module]:
    return lambda: DistributedDataParallel(Model(), process_group=group)


def tensor_parallel(mesh: DeviceMesh) -> nn.Module:
    return parallelize_module(Model(), mesh, dict(TENSOR_PARALLEL))


def with_experts(mesh: DeviceMesh) -> Any:
    """The experts over the second dimension of the mesh, `fully_shard` over the first."""
    model = Model()
    model.experts = nn.Parameter(distribute_tensor(model.experts.detach(), mesh["inner"], [Shard(0)]))
    return fully_shard(
        tensor_parallel_rest(model, mesh),
        mesh=mesh["outer"],
        shard_placement_fn=lambda weight: Shard(1) if weight.ndim == 3 else None,
    )


def tensor_parallel_rest(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    return parallelize_module(model, mesh["inner"], dict(TENSOR_PARALLEL))


def cases(mesh: DeviceMesh) -> dict[str, Callable[[], Any]]:
    inner = mesh["inner"]
    return {
        "ddp": ddp(dist.group.WORLD),
        "ddp of 2": ddp(inner.get_group()),
        "fsdp": lambda: fully_shard(Model()),
        "fsdp of 2": lambda: fully_shard(Model(), mesh=inner),
        "hsdp": lambda: fully_shard(Model(), mesh=mesh),
        "tensor parallel of 2": lambda: tensor_parallel(inner),
        "fsdp of tensor parallel": lambda: fully_shard(
            tensor_parallel_rest(Model(), mesh), mesh=mesh["outer"], shard_placement_fn=lambda _: Shard(0)
        ),
        "experts": lambda: with_experts(mesh),
    }


class Counted(TorchDispatchMode):
    """Adds up what torch.distributed is asked for, whatever its function is called."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = dict.fromkeys(COUNTS, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(one, DTensor) for one in types):
            return NotImplemented
        space, _, name = str(func._schema.name).partition("::")
        if space in ("c10d", "_c10d_functional"):
            received, sent, reduced = getattr(self, name)(*args)
            self.counts["received_bytes"] += received
            self.counts["sent_bytes"] += sent
            self.counts["reduced_bytes"] += reduced
        return func(*args, **(kwargs or {}))

    def alltoall_base_(self, received: Tensor, sent: Tensor, group: Any, come: Any, go: Any, *_: Any) -> Any:
        own = dist.ProcessGroup.unbox(group).rank()
        return (sum(come) - come[own]) * received.itemsize, (sum(go) - go[own]) * sent.itemsize, 0

    def _allgather_base_(self, gathered: Tensor, own: Tensor, *_: Any) -> Any:
        others = gathered.nbytes - own.nbytes
        return others, others, 0

    def allreduce_(self, tensors: list[Tensor], *_: Any) -> Any:
        return 0, 0, tensors[0].nbytes


@contextmanager
def products_counted(counts: dict[str, int]) -> Iterator[None]:
    """Of the LMOs, by the plain form."""
    real = Spectral.lmo_of_each

    def lmo_of_each(norm: Spectral, gradients: Any) -> Any:
        counts["multiplications"] += sum(norm.lmo_cost(gradient).multiplications for gradient in gradients)
        return real(norm, gradients)

    with patch.object(Spectral, "lmo_of_each", lmo_of_each):
        yield


def laid_out(weight: Any) -> dict[str, Any]:
    if not isinstance(weight, DTensor):
        return {"shape": list(weight.shape), "mesh": None, "placements": []}
    mesh, placements = list(weight.device_mesh.shape), list(map(repr, weight.placements))
    return {"shape": list(weight.shape), "mesh": mesh, "placements": placements}


def case(build: Callable[[], Any]) -> dict[str, Any]:
    torch.manual_seed(0)
    # Scion looks for the wrapper of the model, which has to live.
    model = build()
    weights = {name.removeprefix("module.").split(".")[0]: weight for name, weight in model.named_parameters()}
    groups = [{"params": [weight], "norm": NORMS[name]} for name, weight in weights.items()]
    give_gradients(weights.values())
    optimizer = sd.ScionC(groups, 0.05, weight_decay=0.5)
    # The ranks agree on what lasts.
    optimizer.step()
    with Counted() as seen, products_counted(seen.counts):
        optimizer.step()
    seen.counts["state_bytes"] = state_here(optimizer)
    return {"counts": seen.counts, "layout": {name: laid_out(weight) for name, weight in weights.items()}}


def state_here(optimizer: torch.optim.Optimizer) -> int:
    held: list[Any] = [tensor for state in optimizer.state.values() for tensor in state.values()]
    return sum((tensor.to_local() if isinstance(tensor, DTensor) else tensor).nbytes for tensor in held)


def give_gradients(weights: Iterable[Any]) -> None:
    for weight in weights:
        weight.grad = torch.randn_like(weight)


def peak(mesh: DeviceMesh) -> dict[str, int]:
    """Temporaries of a step in which several buckets of larger matrices are on their way."""
    found = {}
    for name, placements, on in (("fsdp", [Shard(0)], mesh["flat"]), ("columns", [Shard(1)], mesh["flat"])):
        weights = [nn.Parameter(distribute_tensor(torch.randn(shape), on, placements)) for shape in LARGE_SHAPES]
        give_gradients(weights)
        optimizer = sd.Scion(weights, 0.05, norm="spectral")
        optimizer.step()
        (measured,) = allocations([optimizer.step], torch.device("cpu"))
        found[name] = measured.peak
    return found


def main(out: Path) -> None:
    dist.init_process_group("gloo")
    owner_plan.BYTES_OF_A_RANK = BUCKET_BYTES
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("outer", "inner"))
    mine: dict[str, Any] = {name: case(build) for name, build in cases(mesh).items()}
    owner_plan.BYTES_OF_A_RANK = LARGE_BUCKET_BYTES
    flat = init_device_mesh("cpu", (4,), mesh_dim_names=("flat",))
    mine["peak"] = peak(flat)
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    if dist.get_rank() == 0:
        out.write_text(json.dumps(found))
    # FSDP's reference cycles may outlive the process group, which then aborts.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()
