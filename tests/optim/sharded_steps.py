"""Run by torchrun: train alike with whole weights, and with weights cut by FSDP2.

Writes the largest differences, and how often the ranks speak to each other in a step.
"""

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.debug import CommDebugMode

import steadydecay as sd

Groups = list[dict[str, Any]]
SPLIT = {"name": "spectral", "split_sizes": [40, 24]}
OPTIMIZERS: dict[str, Callable[[Groups], torch.optim.Optimizer]] = {
    "spectral": lambda groups: sd.ScionC(groups, 0.05, weight_decay=0.5),
    "nesterov": lambda groups: sd.Scion(groups, 0.05, weight_decay=0.5, nesterov=True),
    "memory_light": lambda groups: sd.ScionC(groups, 0.05, weight_decay=0.5, memory_light=True),
    "one at a time": lambda groups: sd.ScionC(groups, 0.05, weight_decay=0.5, workspace_bytes=0),
    "split": lambda groups: sd.ScionC([groups[0] | {"norm": SPLIT}, *groups[1:]], 0.05, weight_decay=0.5),
    **{
        name: lambda groups, name=name: sd.ScionC([g | {"norm": name} for g in groups[:-1]], 0.05, weight_decay=0.5)
        for name in ("sign", "row_norm", "col_norm")
    },
    "lion": lambda groups: sd.Lion(groups, 0.05, weight_decay=0.5),
    "sgdw": lambda groups: sd.SGDW(groups, 0.05, 0.9, weight_decay=0.5),
    "adamc": lambda groups: sd.AdamC(groups, 0.05, weight_decay=0.5),
}


def built(
    build: Callable[[Groups], torch.optim.Optimizer], is_sharded: bool
) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    # The first weight has rows for a split; none has a number of rows that two divides but the third.
    model = nn.Sequential(nn.Linear(33, 64), nn.Linear(64, 65), nn.Linear(65, 64), nn.Linear(64, 1))
    if is_sharded:
        fully_shard(model)
    weights = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    return model, build([{"params": weights[:1]}, {"params": weights[1:]}, {"params": vectors}])


def collectives_of_a_step(build: Callable[[Groups], torch.optim.Optimizer]) -> int:
    model, optimizer = built(build, is_sharded=True)
    model(torch.randn(16, 33)).square().mean().backward()
    with CommDebugMode() as counted:
        optimizer.step()
    return counted.get_total_counts()


def trained(build: Callable[[Groups], torch.optim.Optimizer], is_sharded: bool) -> list[torch.Tensor]:
    model, optimizer = built(build, is_sharded)
    for step in range(4):
        torch.manual_seed(step)
        model(torch.randn(16, 33)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    whole: list[Any] = [parameter.detach() for parameter in model.parameters()]
    return [one.full_tensor() if is_sharded else one for one in whole]


def skipped_by_each_rank(name: str) -> dict[str, Any]:
    """What each rank counts, and whether all is finite, where one rank's part of one gradient holds a NaN."""
    model, optimizer = built(OPTIMIZERS[name], is_sharded=True)
    handle = sd.skip_nonfinite(optimizer)
    model(torch.randn(16, 33)).square().mean().backward()
    gradient: Any = optimizer.param_groups[0]["params"][0].grad
    if dist.get_rank() == 1:
        gradient.to_local()[0, 0] = torch.nan
    optimizer.step()
    counts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(counts, handle.skipped)
    weights: list[Any] = list(model.parameters())
    return {"counts": counts, "is_finite": all(bool(one.full_tensor().isfinite().all()) for one in weights)}


def main() -> None:
    dist.init_process_group("gloo")
    differences = {}
    for name, build in OPTIMIZERS.items():
        pairs = zip(trained(build, True), trained(build, False), strict=True)
        differences[name] = max(float((sharded - whole).abs().max()) for sharded, whole in pairs)
    collectives = {name: collectives_of_a_step(OPTIMIZERS[name]) for name in ("spectral", "split", "one at a time")}
    skipped = {name: skipped_by_each_rank(name) for name in ("spectral", "lion", "adamc")}
    if dist.get_rank() == 0:
        found = {"differences": differences, "collectives": collectives, "skipped": skipped}
        Path(sys.argv[1]).write_text(json.dumps(found))
    # FSDP's reference cycles may outlive the process group, which then aborts.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
