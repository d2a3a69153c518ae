"""A few watched steps of a small model, by one process alone and by all ranks together.

Not a test: test_watch_on_ranks.py runs it and compares what rank 0 writes. Sizes do not divide by two.
"""

import gc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Placement, Replicate, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

import steadydecay as sd

MODES = ("one", "ddp", "fsdp", "layouts", "meshes")
STEPS, EVERY = 6, 2
ALONG, OTHER, WHOLE = Shard(0), Shard(1), Replicate()
# By mode, the mesh and each parameter's placements on it. "layouts": each cut another way, or not at all. "meshes": two
# weights of one shape cut along the same dimension of theirs and different ones of the mesh.
LAYOUTS: dict[str, tuple[tuple[int, ...], Sequence[Sequence[Placement]]]] = {
    "layouts": ((2,), [(one,) for one in (ALONG, OTHER, WHOLE, ALONG, ALONG, WHOLE, ALONG, WHOLE)]),
    "meshes": ((2, 1), [(ALONG, WHOLE)] * 4 + [(WHOLE, ALONG)] + [(WHOLE, WHOLE)] * 3),
}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # Wider than the vectors of a spectral norm, whose products are counted.
        self.embedding = nn.Embedding(11, 35)
        self.stacked = nn.Parameter(torch.randn(3, 35, 35) / 35)
        self.up = nn.Linear(35, 9)
        self.gate = nn.Linear(35, 9, bias=False)
        self.unused = nn.Linear(35, 7, bias=False)
        self.head = nn.Linear(9, 11)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for matrix in self.stacked.unbind():
            x = x + x @ matrix
        return self.head(self.up(x).tanh() * self.gate(x))


def all_gradients(model: nn.Module, rank: int, world_size: int, step: int) -> None:
    tokens = torch.randint(0, 11, (8, 6), generator=torch.Generator().manual_seed(step))
    own = tokens.chunk(world_size)[rank]
    nn.functional.cross_entropy(model(own[:, :-1]).flatten(0, 1), own[:, 1:].flatten()).backward()


def laid_out(model: nn.Module, mode: str) -> None:
    """Replace each parameter by a DTensor of its layout."""
    shape, layouts = LAYOUTS[mode]
    mesh = init_device_mesh("cpu", shape)
    for (name, parameter), layout in zip(list(model.named_parameters()), layouts, strict=True):
        owner = model.get_submodule(name.rpartition(".")[0])
        setattr(owner, name.rpartition(".")[2], nn.Parameter(distribute_tensor(parameter.data, mesh, layout)))


def lay_out_gradients(model: nn.Module, twin: nn.Module) -> None:
    for parameter, whole in zip(model.parameters(), twin.parameters(), strict=True):
        if whole.grad is not None:
            layout: Any = parameter
            parameter.grad = distribute_tensor(whole.grad, layout.device_mesh, layout.placements)


def count_collectives(counts: list[int]) -> None:
    """Add every all_reduce to the last of the counts."""
    all_reduce = dist.all_reduce

    def counted(*arguments: Any, **options: Any) -> Any:
        counts[-1] += 1
        return all_reduce(*arguments, **options)

    dist.all_reduce = counted


def wrapped(model: nn.Module, mode: str) -> nn.Module:
    """The module to train, whose parameters are the model's own."""
    if mode == "ddp":
        return DistributedDataParallel(model, find_unused_parameters=True)
    if mode == "fsdp":
        fully_shard(model)
    if mode in LAYOUTS:
        laid_out(model, mode)
    return model


def resumed(handle: Any, optimizer: torch.optim.Optimizer) -> Any:
    """A new watch with what rank 0 would save."""
    saved = [handle.state_dict()]
    dist.broadcast_object_list(saved, src=0)
    handle.remove()
    handle = sd.watch(optimizer, every=EVERY)
    handle.load_state_dict(saved[0])
    return handle


def measured(mode: str, counts: list[int]) -> dict[str, Any]:
    """Records and collectives of a run."""
    is_alone = mode == "one"
    rank, world_size = (0, 1) if is_alone else (dist.get_rank(), dist.get_world_size())
    torch.manual_seed(0)
    model, twin = Model(), Model()
    twin.load_state_dict(model.state_dict())
    trained = wrapped(model, mode)
    optimizer = torch.optim.AdamW(sd.param_groups(model, "adamw", lr=0.02, weight_decay=0.5))
    handle = sd.watch(optimizer, every=EVERY)
    records: list[Any] = []
    counts[:] = []
    for step in range(STEPS):
        if mode in LAYOUTS:
            for parameter, whole in zip(model.parameters(), twin.parameters(), strict=True):
                whole.data.copy_(parameter.full_tensor())  # pyright: ignore[reportAttributeAccessIssue]
            twin.zero_grad()
            all_gradients(twin, 0, 1, step)
            lay_out_gradients(model, twin)
        else:
            all_gradients(trained, rank, world_size, step)
        if step == STEPS - 2 and not is_alone:
            handle = resumed(handle, optimizer)
        counts.append(0)
        optimizer.step()
        optimizer.zero_grad()
        # No other rank reads: reading is no collective.
        if (step + 1) % EVERY == 0 and dist.get_rank() == 0:
            records.append(handle.record())
    return {"records": records, "collectives": list(counts)}


def main(out: Path) -> None:
    dist.init_process_group("gloo")
    counts = [0]
    count_collectives(counts)
    results = {mode: measured(mode, counts) for mode in MODES}
    if dist.get_rank() == 0:
        out.write_text(json.dumps(results))
    dist.barrier()
    # DDP refers to itself: freed as the process exits, it may outlive its group.
    gc.collect()
    dist.destroy_process_group()
