"""From a measured step's tensors to its record: the one time that the host waits for the device."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from steadydecay.monitor.first_fault import is_spoilt
from steadydecay.monitor.host import on_host
from steadydecay.monitor.layer_batch import BatchResult
from steadydecay.monitor.numbers import Numbers, geometric_mean, measures_of, together
from steadydecay.monitor.trend import drift
from steadydecay.monitor.verdict import verdict_of
from steadydecay.monitor.watched_group import MeasuredGroup
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
    """‖g‖², ‖m‖², ⟨g, m⟩ and ‖g / (√v̂ + ε)‖² of a layer; of one without, any number."""

    gradient_sq: float = 0.0
    momentum_sq: float = 0.0
    inner: float = 0.0
    unit_gradient_sq: float = 0.0


def record_of(measurement: Measurement) -> Record:
    """{"layers": {name: {measure: float}}, "groups": {role or name: {measure: float}}, "verdicts": {name: str}}."""
    groups, batches = on_host(measurement)
    of_group = {one.group: one for one in groups}
    readings = [reading for batch in batches for reading in _readings(batch, of_group[batch.group])]
    # Batches mix the order of layers; that of the groups is the optimizer's.
    readings.sort(key=lambda one: one.measured.layer.position)
    by_name: dict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        by_name[reading.group.name].append(reading)
    return {
        "layers": {one.measured.layer.name: measures_of(one.numbers) for one in readings},
        "groups": {name: _group_measures(members) for name, members in by_name.items()},
        "verdicts": {one.measured.layer.name: _verdict(one) for one in readings},
    }


def _readings(batch: BatchResult, group: MeasuredGroup) -> Iterator[Reading]:
    """Of each layer; spectral norms of all blocks of the batch are solved for together."""
    norms = [spectral_norms(gram) for gram in batch.grams]
    of_layers = torch.stack(norms, dim=1).tolist() if norms else [[]] * len(batch.layers)
    for at, measured in enumerate(batch.layers):
        yield Reading(measured, group, _numbers(batch, at, group, of_layers[at]))


def _numbers(batch: BatchResult, at: int, group: MeasuredGroup, spectral: list[float]) -> Numbers:
    measured = batch.layers[at]
    parameter = measured.layer.parameter
    before_sq, after_sq, added_sq, inner = batch.weight_sums[at].tolist()
    found, first, time = _gradient_numbers(batch, at), float(measured.first_time), float(measured.time)
    decay = float(group.decay) if measured.is_moved else 0.0
    is_predicted = group.is_decay_known and 0 < decay < 1
    shape = tuple(parameter.shape)
    return Numbers(
        size=parameter.numel(),
        before_sq=before_sq,
        after_sq=after_sq,
        kept_sq=(1 - decay) * before_sq,
        added_sq=added_sq,
        inner=inner,
        gradient_sq=found.gradient_sq if measured.has_gradient else None,
        momentum_sq=found.momentum_sq if measured.has_momentum else None,
        contribution=_contribution(measured, group, found),
        spectral_norms=spectral,
        sign_norm=None if batch.largest is None else float(batch.largest[at]) * shape[-1],
        predicted_sq=group.predicted_norm_sq(shape) if is_predicted else None,
        predicted_measured_sq=group.predicted_norm_sq(shape, added_sq) if is_predicted else None,
        time_constants=time,
        drift=drift(float(batch.rates[at]), time - first),
    )


def _gradient_numbers(batch: BatchResult, at: int) -> GradientNumbers:
    if batch.gradient_sums is None:
        return GradientNumbers()
    unit_gradient_sq = 0.0 if batch.unit_gradient_sq is None else float(batch.unit_gradient_sq[at])
    gradient_sq, momentum_sq, inner = batch.gradient_sums[at].tolist()
    return GradientNumbers(gradient_sq, momentum_sq, inner, unit_gradient_sq)


def _contribution(measured: MeasuredLayer, group: MeasuredGroup, found: GradientNumbers) -> float | None:
    """γ‖g‖/‖d‖ for an update that normalises the direction d; under Adam γ RMS(g/(√v̂+ε))."""
    lr = group.lr
    if lr is None or not measured.has_gradient:
        return None
    if measured.has_second_moment:
        return lr * (found.unit_gradient_sq / measured.layer.parameter.numel()) ** 0.5
    direction = group.direction() if measured.has_momentum else None
    if direction is None:
        return None
    cross = 2 * direction.momentum * direction.gradient * found.inner
    square = direction.momentum**2 * found.momentum_sq + cross + direction.gradient**2 * found.gradient_sq
    return lr * (found.gradient_sq / square) ** 0.5 if square > 0 else None


def _group_measures(members: Sequence[Reading]) -> dict[str, float]:
    """All layers of a group as one vector; lr and decay are those of its last group where several share a name."""
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
    steady_sq = numbers.predicted_measured_sq or numbers.predicted_sq
    ratio = (numbers.after_sq / steady_sq) ** 0.5 if steady_sq else None
    return verdict_of(has_decay, numbers.time_constants, numbers.drift or 0.0, ratio)
