"""The present groups and layers of an optimizer, during a step and at a measured one."""

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

# The state by kind and then by index or name, as in `WatchedOptimizer.state`.
State = dict[str, dict[Any, Any]]
NO_STATE: State = {"groups": {}, "peaks": {}, "layers": {}}


class Measurement(NamedTuple):
    """Everything that is measured at a step, as tensors for which nothing has waited yet."""

    groups: list[MeasuredGroup]
    batches: list[BatchResult]


@final
class WatchedOptimizer:
    """A snapshot of an optimizer's groups and layers, which is replaced when groups are added, removed or loaded.

    Args:
        optimizer: The optimizer with all of its groups and parameters.
        state: What `state` returned. For groups and layers that it lacks, time begins now.
        scratch: Memory for temporaries.
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
        """Return whether the optimizer still has exactly these groups and parameters."""
        settings = [group.settings for group in self._groups]
        return _are_same(optimizer.param_groups, settings) and _are_same(_parameters(optimizer), self._parameters)

    def unpredictable(self) -> dict[int, str]:
        """Return the indices of groups that decay but whose norms cannot be predicted, with the reasons."""
        return {group.index: group.why_unpredictable for group in self._groups if group.why_unpredictable}

    def with_unknown_decay(self) -> list[int]:
        """Return the indices of groups whose weight_decay does not act as 1-η."""
        return [group.index for group in self._groups if not group.is_decay_known]

    def find_peaks(self, optimizer: Optimizer) -> None:
        """Find the peak of a schedule that has begun: from its schedulers, or else from the lr that they have left."""
        # Every scheduler of torch leaves this key. Searching for a scheduler takes a pass over all objects.
        asked = peak_lrs(optimizer) if any("initial_lr" in group.settings for group in self._groups) else None
        for group in self._groups:
            group.begin_at_peak(asked[group.index] if asked else None)

    def layer_names(self) -> list[str]:
        """Return the names of all layers, in order."""
        return [layer.name for layer in self._layers]

    def group_names(self) -> list[str]:
        """Return the names of all groups, in order. Several groups may share one."""
        return [group_name(group.settings, group.index) for group in self._groups]

    def look_for_gradients(self) -> None:
        """Find out which layers the current step moves, at this moment because gradients may change within the step."""
        for layer in self._layers:
            layer.look_for_gradient()

    def remember_weights(self) -> None:
        """Remember the weights before a step that is to be measured."""
        with torch.no_grad():
            for batch in self._batches:
                batch.remember()

    def take_step(self) -> None:
        """After a step, let its time pass for all groups and for the layers that it has moved."""
        for group in self._groups:
            group.take_step()
        for layer in self._layers:
            if not layer.is_moved:
                layer.miss_step()

    def measure(self) -> Measurement:
        """Return everything that is measured after `take_step`; `remember_weights` was called before the step."""
        with torch.no_grad(), torch.autocast(self._device_type, enabled=False):
            return Measurement([group.measured() for group in self._groups], _results_of(self._batches))

    def state(self) -> State:
        """Return what must be kept to resume exactly, of groups by index and of layers by name."""
        return {
            "groups": {group.index: float(group.time) for group in self._groups},
            "peaks": {group.index: _on_host(group.peak) for group in self._groups},
            "layers": {name: kept for batch in self._batches for name, kept in batch.state().items()},
        }

    def forget(self) -> None:
        """Free the memory of all layers. No step may follow."""
        self._batches = []

    @property
    def _device_type(self) -> str:
        return self._layers[0].parameter.device.type if self._layers else "cpu"


def _results_of(batches: Sequence[LayerBatch]) -> list[BatchResult]:
    """Return the results of all batches, with one collective for each product with the weights.

    The last of these includes all other sums. Each is for all weights of a process group, and there is one more if both
    rows and columns of some weights are sharded.
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
