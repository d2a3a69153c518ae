"""Turn the tensors of a measured step into its record, the only time that the host waits for the device."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from steadydecay.known_optimizers.optimizer_state import Direction
from steadydecay.monitor.first_fault import is_spoilt
from steadydecay.monitor.host import on_host
from steadydecay.monitor.layer_batch import BatchResult
from steadydecay.monitor.numbers import Numbers, geometric_mean, measures_of, together
from steadydecay.monitor.trend import drift
from steadydecay.monitor.verdict import verdict_of
from steadydecay.monitor.watched_group import MeasuredGroup, WatchedGroup
from steadydecay.monitor.watched_layer import MeasuredLayer
from steadydecay.monitor.watched_optimizer import Measurement
from steadydecay.tensors.spectral_norm import spectral_norms

Record = dict[str, Any]


class Reading(NamedTuple):
    """A layer, its group, and its numbers on the host."""

    measured: MeasuredLayer
    group: MeasuredGroup
    numbers: Numbers


class GradientNumbers(NamedTuple):
    """‖g‖², ‖m‖², ⟨g, m⟩ and ‖g / (√v̂ + ε)‖² of a layer. Values that a layer does not have are arbitrary."""

    gradient_sq: float = 0.0
    momentum_sq: float = 0.0
    inner: float = 0.0
    unit_gradient_sq: float = 0.0


class InCommon(NamedTuple):
    """What layers of one shape and group have in common. None stands for what does not exist.

    Attributes:
        lr, decay: γ and η of the step.
        has_moved: Whether the step may have moved weights.
        direction: The direction that the update normalises.
        predicted_sq: ‖θ‖² at the steady state, by theory alone.
        per_added_sq: The same for each unit of the measured ‖γu‖².
        at_peak_sq: The same by theory, at the peak of the schedule.
    """

    lr: float | None
    decay: float
    has_moved: bool
    direction: Direction | None
    predicted_sq: float | None
    per_added_sq: float | None
    at_peak_sq: float | None


def record_of(measurement: Measurement) -> Record:
    """Return {"layers": {name: {measure: float}}, "groups": {role or name: {...}}, "verdicts": {name: str}}."""
    groups, batches = on_host(measurement)
    of_group = {one.group: one for one in groups}
    readings = [reading for batch in batches for reading in _readings(batch, of_group)]
    # Batches change the order of layers; groups are in the optimizer's order.
    readings.sort(key=lambda one: one.measured.layer.position)
    by_name: dict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        by_name[reading.group.name].append(reading)
    return {
        "layers": {one.measured.layer.name: measures_of(one.numbers) for one in readings},
        "groups": {name: _group_measures(members) for name, members in by_name.items()},
        "verdicts": {one.measured.layer.name: _verdict(one) for one in readings},
    }


def _readings(batch: BatchResult, of_group: Mapping[WatchedGroup, MeasuredGroup]) -> Iterator[Reading]:
    """Yield the reading of each layer. The spectral norms of all blocks of the batch are computed together."""
    count = len(batch.layers)
    norms = [spectral_norms(gram) for gram in batch.grams]
    spectral = torch.stack(norms, dim=1).tolist() if norms else [[] for _ in range(count)]
    largest = [None] * count if batch.largest is None else batch.largest.tolist()
    kinds = dict.fromkeys((measured.layer.group, measured.layer.parameter.shape) for measured in batch.layers)
    in_common = {(group, shape): _in_common(of_group[group], tuple(shape)) for group, shape in kinds}
    # Read each column at once, because reading single entries of a tensor takes longer than everything else.
    rows = zip(
        batch.layers,
        batch.first_times,
        batch.times,
        batch.weight_sums.tolist(),
        _gradient_numbers(batch),
        spectral,
        largest,
        batch.rates.tolist(),
        strict=True,
    )
    for measured, first_time, time, sums, found, of_blocks, entry, rate in rows:
        group, shape = measured.layer.group, measured.layer.parameter.shape
        numbers = _numbers(measured, in_common[group, shape], sums, found)
        numbers.spectral_norms = of_blocks
        numbers.sign_norm = None if entry is None else entry * shape[-1]
        numbers.time_constants = float(time)
        numbers.drift = drift(rate, float(time) - float(first_time))
        yield Reading(measured, of_group[group], numbers)


def _in_common(group: MeasuredGroup, shape: tuple[int, ...]) -> InCommon:
    return InCommon(
        lr=group.lr,
        decay=float(group.decay),
        has_moved=group.has_moved,
        direction=group.direction(),
        predicted_sq=group.predicted_norm_sq(shape),
        per_added_sq=group.norm_sq_of_added_sq(shape),
        at_peak_sq=group.norm_sq_at_peak(shape),
    )


def _numbers(measured: MeasuredLayer, common: InCommon, sums: list[float], found: GradientNumbers) -> Numbers:
    """Return all numbers except spectral and sign norms, time and drift."""
    before_sq, after_sq, added_sq, inner = sums
    parameter, is_moved = measured.layer.parameter, measured.is_moved
    decay = common.decay if is_moved else 0.0
    per_added_sq = common.per_added_sq if is_moved else None
    return Numbers(
        size=parameter.numel(),
        before_sq=before_sq,
        after_sq=after_sq,
        kept_sq=(1 - decay) * before_sq,
        added_sq=added_sq,
        inner=inner,
        rounding_sq=measured.rounding_sq(after_sq) if is_moved and common.has_moved else 0.0,
        gradient_sq=found.gradient_sq if measured.has_gradient else None,
        momentum_sq=found.momentum_sq if measured.has_momentum else None,
        contribution=_contribution(measured, common, found),
        predicted_sq=common.predicted_sq if is_moved else None,
        predicted_measured_sq=None if per_added_sq is None else per_added_sq * added_sq,
        at_peak_sq=common.at_peak_sq if measured.has_ever_moved else None,
    )


def _gradient_numbers(batch: BatchResult) -> list[GradientNumbers]:
    if batch.gradient_sums is None:
        return [GradientNumbers()] * len(batch.layers)
    unit_gradient_sq = [0.0] * len(batch.layers) if batch.unit_gradient_sq is None else batch.unit_gradient_sq.tolist()
    sums = batch.gradient_sums.tolist()
    return [GradientNumbers._make((*of_layer, unit)) for of_layer, unit in zip(sums, unit_gradient_sq, strict=True)]


def _contribution(measured: MeasuredLayer, common: InCommon, found: GradientNumbers) -> float | None:
    """Return γ‖g‖/‖d‖ for an update that normalises the direction d, or γ RMS(g/(√v̂+ε)) under Adam."""
    lr = common.lr
    if lr is None or not measured.has_gradient:
        return None
    if measured.has_second_moment:
        return lr * (found.unit_gradient_sq / measured.layer.parameter.numel()) ** 0.5
    direction = common.direction if measured.has_momentum else None
    if direction is None:
        return None
    cross = 2 * direction.momentum * direction.gradient * found.inner
    square = direction.momentum**2 * found.momentum_sq + cross + direction.gradient**2 * found.gradient_sq
    return lr * (found.gradient_sq / square) ** 0.5 if square > 0 else None


def _group_measures(members: Sequence[Reading]) -> dict[str, float]:
    """Return the measures of all layers of a group as one vector, with lr and decay of the last group of that name."""
    numbers, group = together([one.numbers for one in members]), members[-1].group
    found: dict[str, float | None] = {
        **measures_of(numbers),
        "spectral_geometric_mean": geometric_mean(numbers.spectral_norms),
        "lr": group.lr,
        "decay": float(group.decay) if group.is_decay_known else None,
        "effective_lr": group.effective_lr,
    }
    return {name: value for name, value in found.items() if value is not None}


def _verdict(reading: Reading) -> str:
    numbers, has_decay = reading.numbers, reading.group.has_decay and reading.measured.has_ever_moved
    if is_spoilt(numbers.after_sq, numbers.momentum_sq):
        return "not finite"
    measured_sq = numbers.predicted_measured_sq if numbers.is_update_resolved else None
    steady_sq = measured_sq or numbers.predicted_sq
    ratio = (numbers.after_sq / steady_sq) ** 0.5 if steady_sq else None
    return verdict_of(has_decay, numbers.time_constants, numbers.drift or 0.0, ratio)
