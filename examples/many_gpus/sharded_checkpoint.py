"""A training loop of your own on many GPUs, whose checkpoints are folders to which each rank writes its part.

    torchrun --nproc-per-node 4 examples/many_gpus/sharded_checkpoint.py ddp runs/sharded
    torchrun --nproc-per-node 2 examples/many_gpus/sharded_checkpoint.py fsdp runs/sharded
    python examples/many_gpus/sharded_checkpoint.py one runs/sharded

Each command continues where the previous one stopped, and takes two more steps, or as many as a number at its end says.
The losses equal those of a single process. SAVE=async writes the folders while training continues.
"""

import gc
import io
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR

import steadydecay as sd
from steadydecay.monitor.watch import Watch
from steadydecay.schedules.shapes import cosine

# Its functions are public, although its names do not say so.
dcp: Any = checkpoint

STEPS, BATCH, LR = 10, 8, 0.02


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 24)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24)) for _ in range(2))
        self.head = nn.Linear(24, 16, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens[:, :-1])
        for block in self.blocks:
            x = x + block(x)
        return F.cross_entropy(self.head(x).flatten(0, 1), tokens[:, 1:].flatten())


def built(strategy: str) -> tuple[nn.Module, torch.optim.Optimizer, LambdaLR]:
    """Lay out the model according to the strategy, and only then create its optimizer."""
    torch.manual_seed(0)
    model: Any = Model()
    groups_of: nn.Module = model
    if strategy == "fsdp":
        for block in model.blocks:
            fully_shard(block)
        fully_shard(model)
    elif strategy == "ddp":
        model = DistributedDataParallel(model)
    optimizer = sd.ScionC(sd.param_groups(groups_of, "scion", lr=LR, weight_decay=0.5), LR)
    return model, optimizer, LambdaLR(optimizer, lambda step: cosine(step, STEPS, 0))


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer, schedule: LambdaLR, watch: Watch) -> dict[str, Any]:
    weights, state = get_state_dict(model, optimizer)
    # One piece of bytes, for a new watch does not know yet which tensors it will have; it is alike on all ranks.
    watched = io.BytesIO()
    torch.save(watch.state_dict(), watched)
    return {"model": weights, "optimizer": state, "schedule": schedule.state_dict(), "watch": watched.getvalue()}


def save(folder: Path, *parts: Any) -> None:
    dcp.save(state_of(*parts), checkpoint_id=folder)


def save_while_training(folder: Path, *parts: Any) -> Any:
    """Copy the state, write it in a thread, and return a future whose `result()` waits until everything is written."""
    return dcp.async_save(state_of(*parts), checkpoint_id=folder)


def load(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: LambdaLR, watch: Watch) -> None:
    """Let each rank read its part, whatever number of ranks and strategy saved it."""
    saved = state_of(model, optimizer, schedule, watch)
    dcp.load(saved, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=saved["model"], optim_state_dict=saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    watch.load_state_dict(torch.load(io.BytesIO(saved["watch"]), weights_only=True))


def batch_of(step: int, rank: int, ranks: int) -> Tensor:
    """Return a batch as a pure function of the step, so a run resumes with the same data on any number of ranks."""
    whole = torch.randint(0, 16, (BATCH, 9), generator=torch.Generator().manual_seed(step)).cumsum(1) % 16
    return whole.chunk(ranks)[rank]


def train(strategy: str, folder: Path, steps: int) -> None:
    is_alone = strategy == "one"
    rank, ranks = (0, 1) if is_alone else (dist.get_rank(), dist.get_world_size())
    model, optimizer, schedule = built(strategy)
    watch = sd.watch(optimizer)
    parts = (model, optimizer, schedule, watch)
    earlier = sorted(folder.glob("step-*"))
    if earlier:
        load(earlier[-1], *parts)
    first = schedule.last_epoch
    for step in range(first, min(STEPS, first + steps)):
        loss = model(batch_of(step, rank, ranks))
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        mean = loss.detach() / ranks
        if not is_alone:
            dist.all_reduce(mean)
        if rank == 0:
            print(f"step {step + 1}: loss {mean.item():.6f}", flush=True)
    if rank == 0:
        print(f"watched {watch.measured_step} steps: {watch.verdicts()}", flush=True)
    name = folder / f"step-{schedule.last_epoch:06d}"
    if os.environ.get("SAVE") == "async" and not is_alone:
        save_while_training(name, *parts).result()
    else:
        save(name, *parts)


def main(strategy: str, folder: Path, steps: int = 2) -> None:
    if strategy == "one":
        train(strategy, folder, steps)
        return
    dist.init_process_group()
    train(strategy, folder, steps)
    # FSDP2's parts refer to each other. If they outlived the process group, the process would abort.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
