"""The groups and layers that an optimizer has at present, through a step and at a measured one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.optim import Optimizer

from steadydecay.monitor.chunks import Scratch
from steadydecay.monitor.layer_batch import BatchResult, LayerBatch, layer_batches
from steadydecay.monitor.watched_group import MeasuredGroup, WatchedGroup, group_name
from steadydecay.monitor.watched_layer import layers_of
from steadydecay.parallel.shards import sum_over_ranks
from steadydecay.schedules.peaks import peak_lrs

# By kind, then by index or name; `WatchedOptimizer.state`.
State = dict[str, dict[Any, Any]]
NO_STATE: State = {"groups": {}, "peaks": {}, "layers": {}}


class Measurement(NamedTuple):
    """Everything that is measured at a step, as tensors that no one has waited for."""

    groups: list[MeasuredGroup]
    batches: list[BatchResult]


@final
class WatchedOptimizer:
    """Made anew when groups come, go or are loaded.

    Args:
        optimizer: all of its groups and parameters.
        state: what `state` gave; of groups and layers that it lacks, time begins now.
        scratch: memory for temporaries.
    """

    def __init__(self, optimizer: Optimizer, state: State, scratch: Scratch) -> None:
        indices = range(len(optimizer.param_groups))
        times, peaks = state["groups"], state["peaks"]
        self._groups = [WatchedGroup(optimizer, index, times.get(index, 0.0), peaks.get(index)) for index in indices]
        self._parameters = _parameters(optimizer)
        self._layers = layers_of(self._groups)
        self._batches = layer_batches(self._layers, scratch)
        for batch in self._batches:
            batch.restore(state["layers"])

    def is_of(self, optimizer: Optimizer) -> bool:
        """Whether the optimizer still has these groups and parameters and no others."""
        settings = [group.settings for group in self._groups]
        return _are_same(optimizer.param_groups, settings) and _are_same(_parameters(optimizer), self._parameters)

    def unpredictable(self) -> dict[int, str]:
        """Indices of groups that decay and whose norms cannot be predicted, and why."""
        return {group.index: group.why_unpredictable for group in self._groups if group.why_unpredictable}

    def with_unknown_decay(self) -> list[int]:
        """Indices of groups whose weight_decay does not act as 1-η."""
        return [group.index for group in self._groups if not group.is_decay_known]

    def find_peaks(self, optimizer: Optimizer) -> None:
        """Of a schedule that has begun: what its schedulers tell, else the lr that they have left as its peak."""
        # Every scheduler of torch leaves this key. Looking for one takes a pass over all objects.
        asked = peak_lrs(optimizer) if any("initial_lr" in group.settings for group in self._groups) else None
        for group in self._groups:
            group.begin_at_peak(asked[group.index] if asked else None)

    def layer_names(self) -> list[str]:
        """Of every layer, in order."""
        return [layer.name for layer in self._layers]

    def group_names(self) -> list[str]:
        """Of every group, in order; several may share one."""
        return [group_name(group.settings, group.index) for group in self._groups]

    def look_for_gradients(self) -> None:
        """Whether the step that is being taken moves a layer: now, for gradients may come and go within it."""
        for layer in self._layers:
            layer.look_for_gradient()

    def remember_weights(self) -> None:
        """Before a step that is to be measured."""
        with torch.no_grad():
            for batch in self._batches:
                batch.remember()

    def take_step(self) -> None:
        """After a step: its time passes for all groups, and for the layers that it has moved."""
        for group in self._groups:
            group.take_step()
        for layer in self._layers:
            if not layer.is_moved:
                layer.miss_step()

    def measure(self) -> Measurement:
        """After that, everything that is measured; the weights before the step are remembered."""
        with torch.no_grad(), torch.autocast(self._device_type, enabled=False):
            return Measurement([group.measured() for group in self._groups], _results_of(self._batches))

    def state(self) -> State:
        """What must be kept to go on exactly: of groups by index, of layers by name."""
        return {
            "groups": {group.index: float(group.time) for group in self._groups},
            "peaks": {group.index: _on_host(group.peak) for group in self._groups},
            "layers": {name: kept for batch in self._batches for name, kept in batch.state().items()},
        }

    def forget(self) -> None:
        """Give the memory of all layers back; no step may follow."""
        self._batches = []

    @property
    def _device_type(self) -> str:
        return self._layers[0].parameter.device.type if self._layers else "cpu"


def _results_of(batches: Sequence[LayerBatch]) -> list[BatchResult]:
    """One collective for each product with the weights, the last of which takes all other sums along.

    Each for all weights of a process group, and one more where both rows and columns of some are cut.
    """
    products = {batch: batch.products() for batch in batches}
    results = {batch: batch.sums() for batch in batches}
    images: dict[LayerBatch, list[Tensor]] = {}
    for left in range(max(products.values(), default=1), 0, -1):
        taking_part = [batch for batch in batches if products[batch] >= left]
        halves = {batch: batch.halves() for batch in taking_part}
        sum_over_ranks(halves.values())
        images = {batch: batch.images(of_batch) for batch, (_, of_batch) in halves.items()}
        partial = [one for batch, of_batch in images.items() for one in batch.partial(of_batch)]
        if left == 1:
            partial += [one for result in results.values() for one in result.partial()]
        sum_over_ranks(partial)
        for batch, of_batch in images.items():
            batch.turn(of_batch)
    return [batch.finish_step(result, images[batch]) for batch, result in results.items()]


def _on_host(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {key: float(value) if isinstance(value, Tensor) else value for key, value in numbers.items()}


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _are_same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    return len(first) == len(second) and all(one is other for one, other in zip(first, second, strict=True))
