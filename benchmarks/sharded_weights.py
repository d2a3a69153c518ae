"""What benchmarks/sharded_step.py steps: the shapes of a model under a strategy, and the optimizers of it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Shard
from torch.distributed.tensor import zeros as distributed_zeros
from torch.optim import Optimizer

from steadydecay import ScionC
from steadydecay.bench.shape_sets import Entry


class Weights(NamedTuple):
    """Of a shape set, each with a random gradient."""

    entries: Sequence[Entry]
    tensors: list[Any]

    def of(self, *roles: str) -> list[Any]:
        return [weight for entry, weight in zip(self.entries, self.tensors, strict=True) if entry.role in roles]


def weights_of(entries: Sequence[Entry], mesh: DeviceMesh | None) -> Weights:
    """Plain weights, the same on every rank, or DTensors cut by rows over a mesh."""
    torch.manual_seed(0)
    tensors = [nn.Parameter(_zeros(shape, mesh)) for _, shape, _ in entries]
    for weight in tensors:
        weight.grad = torch.randn_like(weight)
    return Weights(entries, tensors)


def _zeros(shape: tuple[int, ...], mesh: DeviceMesh | None) -> Tensor:
    return torch.zeros(shape) if mesh is None else distributed_zeros(shape, device_mesh=mesh, placements=[Shard(0)])


def scionc(weights: Weights, group: Any) -> list[Optimizer]:
    norms = {"hidden": "spectral", "vector": "bias", "embedding": "sign", "output": "sign"}
    groups = [{"params": weights.of(role), "norm": norm} for role, norm in norms.items() if weights.of(role)]
    return [ScionC(groups, 0.01, weight_decay=0.1, data_parallel_group=group)]


def muon(weights: Weights, group: Any) -> list[Optimizer]:
    rest = weights.of("vector", "embedding", "output")
    return [torch.optim.Muon(weights.of("hidden"), 0.01), torch.optim.AdamW(rest, 0.01)]


OPTIMIZERS: dict[str, Callable[[Weights, Any], list[Optimizer]]] = {"ScionC": scionc, "torch.optim.Muon": muon}
STRATEGIES = ("DDP", "FSDP2")


def built(name: str, strategy: str, entries: Sequence[Entry]) -> list[Optimizer]:
    """Under FSDP2 weights are cut by rows, as `fully_shard` cuts them; under DDP all ranks have the same gradients."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),)) if strategy == "FSDP2" else None
    return OPTIMIZERS[name](weights_of(entries, mesh), dist.group.WORLD if strategy == "DDP" else None)


def stepped(optimizers: Sequence[Optimizer]) -> None:
    for optimizer in optimizers:
        optimizer.step()
