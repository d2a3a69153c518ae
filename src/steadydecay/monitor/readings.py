"""From a measured step's tensors to its record: the one time that the host waits for the device."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch

from steadydecay.groups.prediction import predicted_norm_sq
from steadydecay.known_optimizers.optimizer_state import direction_of
from steadydecay.monitor.facts import GroupFacts, LayerFacts
from steadydecay.monitor.host import on_host
from steadydecay.monitor.measurement import StackResult
from steadydecay.monitor.numbers import Numbers, geometric_mean, measures_of, together
from steadydecay.monitor.trend import drift
from steadydecay.monitor.verdict import verdict_of
from steadydecay.tensors.spectral_norm import spectral_norms
from steadydecay.theory import effective_lr

Record = dict[str, Any]
# A row of numbers of one layer: tensors of a `StackResult` by field name, each the layer's own.
Row = dict[str, Any]


class Reading(NamedTuple):
    """A layer, its group, and its numbers on the host."""

    fact: LayerFacts
    group: GroupFacts
    numbers: Numbers


def record_of(results: Sequence[StackResult], groups: Sequence[GroupFacts]) -> Record:
    """{"layers": {name: {measure: float}}, "groups": {role or name: {measure: float}}, "verdicts": {name: str}}."""
    trees = on_host(([_tree_of(result) for result in results], [[group.decay, group.settings] for group in groups]))
    on_cpu = [replace(old, decay=new[0], settings=new[1]) for old, new in zip(groups, trees[1], strict=True)]
    readings = [
        Reading(fact, on_cpu[fact.layer.group], _numbers(fact, on_cpu[fact.layer.group], row))
        for result, tree in zip(results, trees[0], strict=True)
        for fact, row in zip(result.layers, _rows(tree, len(result.layers)), strict=True)
    ]
    # Stacks mix the order of layers; that of the groups is the optimizer's.
    readings.sort(key=lambda one: one.fact.layer.position)
    by_name: dict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        by_name[reading.group.name].append(reading)
    return {
        "layers": {one.fact.layer.name: measures_of(one.numbers) for one in readings},
        "groups": {name: _group_measures(members) for name, members in by_name.items()},
        "verdicts": {one.fact.layer.name: _verdict(one) for one in readings},
    }


def _tree_of(result: StackResult) -> dict[str, Any]:
    tree = {field.name: getattr(result, field.name) for field in fields(result) if field.name != "layers"}
    return tree | {"times": [fact.times for fact in result.layers]}


def _rows(tree: dict[str, Any], count: int) -> list[Row]:
    """One row for each layer; spectral norms of all blocks of the stack are solved for together."""
    norms = [spectral_norms(gram) for gram in tree["grams"]]
    columns = {**tree, "grams": torch.stack(norms, dim=1).tolist() if norms else [[]] * count}
    return [{name: None if column is None else column[at] for name, column in columns.items()} for at in range(count)]


def _numbers(fact: LayerFacts, group: GroupFacts, row: Row) -> Numbers:
    before_sq, after_sq, added_sq, inner = row["weight_sums"].tolist()
    decay = float(group.decay) if fact.is_moved else 0.0
    gradient_sq, momentum_sq, gradient_inner = (
        [0.0] * 3 if row["gradient_sums"] is None else row["gradient_sums"].tolist()
    )
    first, last = row["times"]
    numbers = Numbers(
        size=fact.layer.parameter.numel(),
        before_sq=before_sq,
        after_sq=after_sq,
        kept_sq=(1 - decay) * before_sq,
        added_sq=added_sq,
        inner=inner,
        gradient_sq=gradient_sq if fact.has_gradient else None,
        momentum_sq=momentum_sq if fact.has_momentum else None,
        contribution=_contribution(fact, group, row, gradient_sq, momentum_sq, gradient_inner),
        spectral_norms=row["grams"],
        sign_norm=None if row["largest"] is None else float(row["largest"]) * fact.shape[-1],
        time_constants=last,
        drift=drift(float(row["rates"]), last - first),
    )
    if group.is_decay_known and 0 < decay < 1:
        numbers.predicted_sq = _predicted_sq(group, fact.shape)
        numbers.predicted_measured_sq = _predicted_sq(group, fact.shape, added_sq / float(group.settings["lr"]) ** 2)
    return numbers


def _predicted_sq(group: GroupFacts, shape: tuple[int, ...], update_norm_sq: float | None = None) -> float | None:
    square = predicted_norm_sq(group.settings, shape, group.momentum, update_norm_sq)
    return square if math.isfinite(square) else None


def _contribution(
    fact: LayerFacts, group: GroupFacts, row: Row, gradient_sq: float, momentum_sq: float, gradient_inner: float
) -> float | None:
    """γ‖g‖/‖d‖ for an update that normalises the direction d; under Adam γ RMS(g/(√v̂+ε))."""
    if not fact.has_gradient:
        return None
    lr = float(group.settings["lr"])
    if fact.has_second_moment:
        return lr * (float(row["unit_gradient_sq"]) / fact.layer.parameter.numel()) ** 0.5
    direction = direction_of(group.owner, group.settings) if fact.has_momentum else None
    if direction is None:
        return None
    cross = 2 * direction.momentum * direction.gradient * gradient_inner
    square = direction.momentum**2 * momentum_sq + cross + direction.gradient**2 * gradient_sq
    return lr * (gradient_sq / square) ** 0.5 if square > 0 else None


def _group_measures(members: Sequence[Reading]) -> dict[str, float]:
    """All layers of a group as one vector; lr and decay are those of its last group where several share a name."""
    numbers, group = together([one.numbers for one in members]), members[-1].group
    found: dict[str, float | None] = {
        **measures_of(numbers),
        "spectral_geometric_mean": geometric_mean(numbers.spectral_norms),
        "lr": float(group.settings["lr"]) if "lr" in group.settings else None,
        "decay": float(group.decay) if group.is_decay_known else None,
        "effective_lr": _effective_lr(group),
    }
    return {name: value for name, value in found.items() if value is not None}


def _effective_lr(group: GroupFacts) -> float | None:
    lr = group.settings.get("lr")
    return effective_lr(float(lr), group.momentum.of(group.settings)) if lr is not None else None


def _verdict(reading: Reading) -> str:
    numbers, settings = reading.numbers, reading.group.settings
    has_coefficient = bool(settings.get("weight_decay")) or settings.get("steady_norm_sq") is not None
    has_decay = has_coefficient and reading.group.is_decay_known and reading.fact.has_ever_moved
    steady_sq = numbers.predicted_measured_sq or numbers.predicted_sq
    ratio = (numbers.after_sq / steady_sq) ** 0.5 if steady_sq else None
    return verdict_of(has_decay, numbers.time_constants, numbers.drift or 0.0, ratio)
