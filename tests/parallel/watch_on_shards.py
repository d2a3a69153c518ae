"""Cases of verbs_on_shards.py: what `sd.watch` measures of weights that are cut over ranks."""

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from layouts import CountedReductions, Layers, give_gradients, laid_out, named_groups, whole_model

import steadydecay as sd

STEPS = 3


def watched(optimizer: torch.optim.Optimizer, model: Layers) -> tuple[list[Any], list[int]]:
    """The record of each step, and its collectives."""
    records, counts = [], []
    with sd.watch(optimizer) as handle:
        for step in range(STEPS):
            give_gradients(model, step, without="other.weight" if step == 0 else "")
            with CountedReductions() as counted:
                optimizer.step()
            records.append(handle.record())
            counts.append(counted.count)
    return records, counts


def adamw(model: Layers) -> torch.optim.Optimizer:
    return torch.optim.AdamW(named_groups(model), lr=0.1, weight_decay=0.5, foreach=False)


@cache
def expected_records() -> list[Any]:
    """One process alone with whole weights."""
    model = whole_model()
    return watched(adamw(model), model)[0]


def of_layout(layout: str, meshes: Any) -> dict[str, Any]:
    records, counts = watched(adamw(cut := laid_out(layout, meshes)), cut)
    return {"worst": worst(records, expected_records()), "collectives": counts, "records": records[-1]["layers"]}


def of_replicas() -> dict[str, Any]:
    """Plain weights whose momenta are cut over the ranks that hold them all."""

    def scion(model: Layers, group: Any) -> torch.optim.Optimizer:
        groups = [group | {"norm": "spectral"} for group in named_groups(model)[:2]]
        return sd.ScionC(groups, 0.05, weight_decay=0.5, data_parallel_group=group)

    expected, _ = watched(scion(alone := whole_model(), None), alone)
    records, counts = watched(scion(shared := whole_model(), dist.group.WORLD), shared)
    return {"worst": worst(records, expected), "collectives": counts, "records": records[-1]["layers"]}


def worst(records: list[Any], expected: list[Any]) -> list[Any]:
    """The largest relative difference of a measure, and which; infinite where one has what the other lacks."""
    found = [(0.0, "")]
    for at, (record, other) in enumerate(zip(records, expected, strict=True)):
        if record["verdicts"] != other["verdicts"]:
            found.append((math.inf, f"verdicts {at}"))
        for kind in ("layers", "groups"):
            found += _differences(record[kind], other[kind], f"step {at} {kind}")
    return list(max(found))


def _differences(one: Any, other: Any, where: str) -> Iterator[tuple[float, str]]:
    if not isinstance(one, dict):
        yield abs(one - other) / max(abs(other), 1e-6), where
        return
    if list(one) != list(other):
        yield math.inf, where
    for key in one.keys() & other.keys():
        yield from _differences(one[key], other[key], f"{where} {key}")
