"""Cases of verbs_on_shards.py: a NaN on one rank alone, and a gradient that one rank lacks."""

import warnings
from typing import Any

import torch
import torch.distributed as dist
from layouts import CountedReductions, Layers, give_gradients, laid_out, named_groups, whole_model
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

import steadydecay as sd
from steadydecay.optim.skip_nonfinite import Skip
from steadydecay.parallel.shards import local_part, sharding_of

# Each rank has entries of it in every layout but that by rows, in which the last rank has few.
SPOILT, RANK = "square.weight", 1


def spoil(model: Layers, is_here: bool) -> None:
    gradient: Any = model.square.weight.grad
    if is_here:
        with torch.no_grad():
            local_part(gradient)[0, 0] = torch.nan


def has_second_part(parameter: Tensor) -> bool:
    """Of those that have the same part all have the same gradient, as gradients are summed over replicas."""
    sharding = sharding_of(parameter)
    return sharding is None or sharding.place()[0] == 1


def skipping(layout: str, skip: Skip, meshes: Any) -> dict[str, Any]:
    model = laid_out(layout, meshes)
    optimizer = torch.optim.SGD(named_groups(model), lr=0.1, foreach=False)
    handle = sd.skip_nonfinite(optimizer, skip)
    before = [local_part(parameter).clone() for parameter in model.parameters()]
    give_gradients(model, 0)
    # Of two replicas, as under HSDP, one alone has it.
    spoil(model, dist.get_rank() == RANK)
    with warnings.catch_warnings(record=True) as said, CountedReductions() as counted:
        warnings.simplefilter("always")
        optimizer.step()
    moved = [
        name
        for (name, parameter), earlier in zip(model.named_parameters(), before, strict=True)
        if earlier.numel() and not torch.equal(local_part(parameter), earlier)
    ]
    return {
        "skipped": handle.skipped,
        "moved": moved,
        "here": [name for name, parameter in model.named_parameters() if local_part(parameter).numel()],
        "warnings": [str(one.message).partition(";")[0] for one in said if one.category is UserWarning],
        "collectives": counted.count,
    }


def first_fault(layout: str, meshes: Any) -> Any:
    """What each rank's monitor says of it."""
    model = laid_out(layout, meshes)
    optimizer = torch.optim.SGD(named_groups(model), lr=0.1, foreach=False)
    with sd.watch(optimizer) as handle, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        give_gradients(model, 0)
        optimizer.step()
        handle.record()
        spoil(model, has_second_part(model.square.weight))
        optimizer.step()
        record = handle.record()
    faults = [str(one.message).partition(" at the")[0] for one in said if "not finite" in str(one.message)]
    return {"fault": record["not_finite"], "warnings": faults}


def under_ddp() -> dict[str, Any]:
    """A loss that is NaN on one rank alone."""
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(4, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    skipping, watching = sd.skip_nonfinite(optimizer, "step"), sd.watch(optimizer)
    before = model.module.weight.detach().clone()
    inputs: Tensor = torch.full((2, 4), torch.nan if dist.get_rank() == RANK else 1.0)
    model(inputs).sum().backward()
    optimizer.step()
    return {
        "skipped": skipping.skipped_steps,
        "is_as_before": torch.equal(model.module.weight, before),
        "weight_norm": watching.record()["layers"]["group_0.0"]["weight_norm"],
    }


def lacking(layout: str, rule: str, meshes: Any) -> dict[str, Any]:
    """One rank lacks a gradient that others have: nobody waits, and all hold the norm of the whole."""
    model, alone = laid_out(layout, meshes), whole_model()
    optimizer = torch.optim.SGD(named_groups(model), lr=0.1, foreach=False)
    sd.correct_weight_decay(optimizer, rule, where=lambda group: True)
    sd.skip_nonfinite(optimizer)
    with sd.watch(optimizer) as handle:
        for step in range(2):
            give_gradients(model, step, without=SPOILT if dist.get_rank() == RANK else "")
            optimizer.step()
        now = handle.record()["layers"][SPOILT]["weight_norm"]
    return {"norm": now, "first": float(alone.square.weight.detach().norm())}
