"""Cases of verbs_on_shards.py: AdamC and RenormalizedAdamW on weights that are cut over ranks."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from layouts import (
    CountedReductions,
    Layers,
    give_gradients,
    laid_out,
    largest_difference,
    named_groups,
    of_all_ranks,
    placed_as,
    whole_model,
)
from torch import nn
from torch.distributed.tensor import Shard

import steadydecay as sd
from steadydecay.parallel.regions import index_of
from steadydecay.parallel.shards import local_part, part_of_whole, sharding_of
from step_costs import peak_bytes

STEPS = 3
BUILDS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "AdamC": lambda groups: sd.AdamC(groups, 0.1, weight_decay=0.5),
    "AdamC foreach": lambda groups: sd.AdamC(groups, 0.1, weight_decay=0.5, foreach=True, amsgrad=True),
    "RenormalizedAdamW": lambda groups: sd.RenormalizedAdamW(groups, 0.1, weight_decay=0.5),
}
# A rank that lacks the gradient of a weight in the second step.
LACKED, LACKING = "square.weight", 1
MEASURES = ("update_parallel", "update_perpendicular")


def trained(model: Layers, name: str, are_sums: bool) -> tuple[torch.optim.Optimizer, list[int]]:
    optimizer, counts = BUILDS[name](named_groups(model)), []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        give_gradients(model, step, are_sums=are_sums, without="other.weight" if step == 1 else "")
        with CountedReductions() as counted:
            optimizer.step()
        counts.append(counted.count)
    return optimizer, counts


@cache
def expected_of(name: str) -> tuple[Layers, torch.optim.Optimizer]:
    """One process alone with whole weights."""
    model = whole_model()
    return model, trained(model, name, are_sums=False)[0]


def of_layout(layout: str, name: str, meshes: Any) -> dict[str, Any]:
    """Once with gradients in the layout of their weights, once with gradients that are sums still to be taken."""
    alone, expected = expected_of(name)
    differences, counts = [], []
    for are_sums in (False, True):
        cut = laid_out(layout, meshes)
        optimizer, counts = trained(cut, name, are_sums)
        pairs = zip(cut.parameters(), alone.parameters(), strict=True)
        measures = [
            float((optimizer.state[one][measure] - expected.state[other][measure]).abs())
            for one, other in pairs
            for measure in MEASURES
            if name == "RenormalizedAdamW"
        ]
        differences.append(max([largest_difference(cut, alone), *measures]))
    return {"differences": differences, "collectives": counts}


def of_lacking(layout: str, meshes: Any) -> dict[str, float]:
    """One rank lacks a gradient: it takes that of the ranks that hold the same part, and else counts as zero."""
    found = {}
    for name, are_sums in (("AdamC", False), ("AdamC", True), ("RenormalizedAdamW", False)):
        alone, cut = whole_model(), laid_out(layout, meshes)
        expected, optimizer = BUILDS[name](named_groups(alone)), BUILDS[name](named_groups(cut))
        for step in range(2):
            give_gradients(alone, step)
            give_gradients(cut, step, are_sums=are_sums, without=LACKED if step and dist.get_rank() == LACKING else "")
            if step:
                _leave_out(alone.square.weight, cut.square.weight, are_sums)
            expected.step()
            optimizer.step()
        found[f"{name}, {are_sums}"] = largest_difference(cut, alone)
    return found


def _leave_out(whole: torch.Tensor, cut: torch.Tensor, are_sums: bool) -> None:
    """What the lacking rank had of the gradient, as far as no other rank has it."""
    regions = of_all_ranks(index_of(sharding_of(cut).region(cut.shape)))  # pyright: ignore[reportOptionalMemberAccess]
    lacked = regions[LACKING]
    holders = regions.count(lacked)
    assert whole.grad is not None
    whole.grad[lacked] *= (holders - 1) / holders if are_sums else float(holders > 1)


def of_low_precision(meshes: Any) -> dict[str, Any]:
    """Whether a bfloat16 weight cut by rows has the bits of a whole one, and what a step takes by its size here."""
    ends: list[nn.Parameter] = []
    peaks: list[float] = []
    for is_cut in (False, True):
        whole = torch.randn(512, 512, generator=torch.Generator().manual_seed(0)).bfloat16()
        weight = nn.Parameter(sharded(whole, meshes) if is_cut else whole)
        optimizer = sd.AdamC([weight], 0.01, weight_decay=0.5)
        for step in range(STEPS):
            gradient = torch.randn(512, 512, generator=torch.Generator().manual_seed(step)).bfloat16()
            weight.grad = sharded(gradient, meshes) if is_cut else gradient
            peaks.append(peak_bytes(optimizer.step) / local_part(weight).nbytes)
        ends.append(weight)
    alone, cut = ends
    expected = part_of_whole(alone.detach(), sharding_of(cut))
    return {"same": torch.equal(local_part(cut), expected), "peaks": [max(peaks[1:STEPS]), max(peaks[STEPS + 1 :])]}


def sharded(whole: torch.Tensor, meshes: Any) -> torch.Tensor:

    return placed_as(whole, meshes[(4,)], [Shard(0)])
