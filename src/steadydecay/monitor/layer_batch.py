"""Layers of one shape and sharding, or small ones of similar shapes, from any groups, that are measured together."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from steadydecay.groups.matrix_blocks import Block, matrix_shape
from steadydecay.monitor.block_images import BlockImages
from steadydecay.monitor.chunks import CHUNK, Matrices, Scratch, padded_shape, places_in_stack, stacked_rows
from steadydecay.monitor.host import Number, on_device
from steadydecay.monitor.step_sums import gradient_sums, largest_entries, unit_gradient_squares, weight_sums
from steadydecay.monitor.trend import Trend
from steadydecay.monitor.watched_layer import LayerTensors, MeasuredLayer, WatchedLayer
from steadydecay.parallel.shards import PartialSum, Sharding, sharding_of
from steadydecay.tensors import spectral_norm
from steadydecay.tensors.low_precision import is_low_precision

# Up to this many entries, the calls for a separate batch take longer than four times the entries of the weight.
SMALL = 2**14


class BatchResult(NamedTuple):
    """What is measured of a batch, on the device.

    Attributes:
        layers: The layers, in the order of the tensors' rows.
        first_times, times: The time constants that had passed for each layer at its first measured step, and now.
        weight_sums: The result of `step_sums.weight_sums`.
        gradient_sums: The result of `step_sums.gradient_sums`, or None if no layer has a gradient or a momentum.
        unit_gradient_sq: The result of `step_sums.unit_gradient_squares`, or None if no layer has a gradient and a
            second moment.
        largest: max |w| of each layer: (parts, stacked) until it is reduced over ranks, and then (stacked,). None if it
            is not needed.
        state_sharding: How the tensors of the gradient sums are sharded over ranks.
        rates: The rates of the norms' `Trend`.
        grams: For each block, the matrices from which its spectral norm is computed.
    """

    layers: list[MeasuredLayer]
    first_times: list[Number]
    times: list[Number]
    weight_sums: Tensor
    gradient_sums: Tensor | None
    unit_gradient_sq: Tensor | None
    largest: Tensor | None
    state_sharding: Sharding | None
    rates: Tensor
    grams: list[Tensor]

    def partial(self) -> list[PartialSum]:
        """Return what adds up over the ranks that share the weights, and over those that share their state."""
        of_weights = [self.weight_sums, *([] if self.largest is None else [self.largest])]
        of_state = [tensor for tensor in (self.gradient_sums, self.unit_gradient_sq) if tensor is not None]
        pairs = ((self.layers[0].layer.sharding, of_weights), (self.state_sharding, of_state))
        return [(sharding.groups(), tensors) for sharding, tensors in pairs if sharding is not None]


def layer_batches(layers: Sequence[WatchedLayer], scratch: Scratch) -> list["LayerBatch"]:
    """Return all layers in batches, small ones of similar shapes together, in the same order on every rank."""
    alike: dict[Any, list[WatchedLayer]] = defaultdict(list)
    for layer in layers:
        weight = layer.parameter
        own_shape = layer.matrix_shape, layer.blocks, weight.shape
        in_common = padded_shape(*layer.matrix_shape), len(layer.blocks)
        where = layer.has_sign_norm, layer.sharding, weight.dtype, weight.device, weight.is_contiguous()
        alike[(in_common if _may_be_padded(layer) else own_shape, where)].append(layer)
    return [LayerBatch(part, scratch) for of_one_kind in alike.values() for part in _parts(of_one_kind)]


@final
class LayerBatch:
    """Layers that are measured together, their weights before a step, and how their norms have changed so far."""

    def __init__(self, layers: Sequence[WatchedLayer], scratch: Scratch) -> None:
        one, here = layers[0], layers[0].here()
        self._layers, self._scratch, self._memory = list(layers), scratch, Scratch()
        self._has_sign_norm, self._sharding = one.has_sign_norm, one.sharding
        self._matrix_settings = {} if one.parameter.is_complex() else one.group.settings
        self._shape, self._places = one.matrix_shape, None
        self._block_images = BlockImages(one.group.settings, tuple(one.parameter.shape), one.blocks, one.sharding)
        if len({layer.matrix_shape for layer in layers}) > 1:
            self._shape = padded_shape(*one.matrix_shape)
            shapes = [layer.matrix_shape for layer in layers]
            self._places = places_in_stack(shapes, self._shape, here.device)
            blocks = [Block((0, self._shape[0]), (0, self._shape[1])) for _ in one.blocks]
            self._block_images = BlockImages({}, self._shape, blocks, None)
        self._device, self._dtype = here.device, torch.promote_types(here.dtype, torch.float32)
        self._groups = list(dict.fromkeys(layer.group for layer in layers))
        places = {group: place for place, group in enumerate(self._groups)}
        # The following lists have one entry for each layer.
        self._group_of_layer = torch.tensor([places[layer.group] for layer in layers]).to(self._device)
        self._before: Tensor | None = None
        # The weights as they are stored after the step that is being measured.
        self._now: Matrices | None = None
        self._trend = Trend.new(len(layers), here.device)
        # For each block, vectors (stacked, columns, r) near the top right singular vectors, or left ones if transposed.
        sizes = self._block_images.sizes
        bases = [spectral_norm.starting_basis(len(layers), *size, here.device) for size in sizes]
        self._bases = [basis.to(self._dtype) for basis in bases]

    def remember(self) -> None:
        """Keep a copy of the weights, in memory that the next copy reuses."""
        weights = self._exact(self._stored())
        if weights.places is not None:
            # Each batch has its own memory, because other batches are remembered before this one is measured.
            self._before = stacked_rows(weights, slice(0, self._shape[0]), self._memory, "before")
            return
        parts = weights.parts
        if self._before is None or self._before.dtype != parts[0].dtype:
            self._before = parts[0].new_empty((len(parts), *self._matrices(parts[:1]).shape))
        torch.stack(parts, out=self._before.view(len(parts), *parts[0].shape))

    def sums(self) -> BatchResult:
        """Return the sums over ranks for the step since `remember`; `finish_step` fills in the rest."""
        self._now = self._stored()
        exact = self._exact(self._now)
        tensors = [layer.tensors() for layer in self._layers]
        layers = [one.layer.measured(one) for one in tensors]
        first_times, times = map(list, zip(*(layer.times() for layer in self._layers), strict=True))
        state_sharding, gradients, unit_gradients = self._gradient_sums(tensors)
        weights, largest = self._weight_sums(exact), self._largest(self._now)
        return BatchResult(
            layers=layers,
            first_times=first_times,
            times=times,
            weight_sums=weights,
            gradient_sums=gradients,
            unit_gradient_sq=unit_gradients,
            largest=largest,
            state_sharding=state_sharding,
            rates=self._trend.rate,
            grams=[],
        )

    def products(self) -> int:
        """Return the number of products with MᵀM: many if the vectors know nothing of the matrix, as before their first
        step.

        It is one if the vectors span all columns, and few if they are as many as the rows, because the first product
        finds what the rows span.
        """
        if all(basis.shape[1] == basis.shape[2] for basis in self._bases):
            return 1
        if all(basis.shape[2] < spectral_norm.VECTORS or basis.shape[1] == basis.shape[2] for basis in self._bases):
            return spectral_norm.WARM_ITERATIONS
        is_new = all(layer.is_new for layer in self._layers)
        is_cold = is_new or any(layer.is_turned and not layer.is_warm for layer in self._layers)
        return spectral_norm.COLD_ITERATIONS if is_cold else spectral_norm.WARM_ITERATIONS

    def halves(self) -> PartialSum:
        """Return what must be summed over ranks before the images, and over which ranks."""
        assert self._now is not None
        return self._block_images.partial(self._block_images.halves(self._now, self._bases, self._scratch))

    def images(self, halves: Sequence[Tensor]) -> list[Tensor]:
        """Return MᵀMV of the local part for each block's basis V, after the halves have been summed over ranks."""
        assert self._now is not None
        return self._block_images.images(self._now, self._bases, halves, self._scratch)

    def partial(self, images: Sequence[Tensor]) -> list[PartialSum]:
        """Return the images, and the ranks over which they add up."""
        return [] if self._sharding is None else [(self._sharding.groups(), images)]

    def turn(self, images: Sequence[Tensor]) -> None:
        """Let the bases follow their images, except those that already span all columns."""
        self._bases = [
            basis if basis.shape[1] == basis.shape[2] else spectral_norm.next_basis(image, basis)
            for image, basis in zip(images, self._bases, strict=True)
        ]

    def finish_step(self, result: BatchResult, images: Sequence[Tensor]) -> BatchResult:
        """Complete the result of `sums`, after it and the last `images` have been summed over ranks."""
        self._now = None
        times = zip(result.first_times, result.times, strict=True)
        elapsed = [layer.finish_step(*of_layer) for layer, of_layer in zip(self._layers, times, strict=True)]
        self._trend = self._trend.after(result.weight_sums[:, 1], on_device(elapsed, self._device, torch.float32))
        largest = None if result.largest is None else result.largest.amax(dim=0)
        grams = [spectral_norm.image_gram(of_block) for of_block in images]
        return result._replace(largest=largest, rates=self._trend.rate, grams=grams)

    def state(self) -> dict[str, dict[str, Any]]:
        """Return, by name, what must be kept of each layer to resume exactly."""
        return {
            layer.name: {
                **layer.state(),
                "rate": self._trend.rate[at].clone(),
                "log_norm": self._trend.log_norm[at].clone(),
                "bases": [basis[at].clone() for basis in self._bases],
                "are_of_rows": self._block_images.is_transposed,
            }
            for at, layer in enumerate(self._layers)
        }

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Load what `state` returned for these layers. Bases of another shape start anew."""
        for at, layer in enumerate(self._layers):
            if (kept := state.get(layer.name)) is None:
                continue
            has_vectors = self._can_take(kept)
            layer.restore(kept, has_vectors)
            self._trend.rate[at], self._trend.log_norm[at] = kept["rate"], kept["log_norm"]
            for basis, of_layer in zip(self._bases, kept["bases"], strict=True) if has_vectors else ():
                basis[at] = of_layer

    def _can_take(self, kept: Mapping[str, Any]) -> bool:
        """Return whether the saved vectors of a layer have the shape of the present ones."""
        is_alike = [basis.shape for basis in kept["bases"]] == [basis.shape[1:] for basis in self._bases]
        return is_alike and kept.get("are_of_rows", False) == self._block_images.is_transposed

    def _matrices(self, parts: Iterable[Tensor]) -> Matrices:
        parts = list(parts)
        if self._places is not None:
            return Matrices(parts, self._shape, self._places)
        return Matrices(parts, matrix_shape(self._matrix_settings, tuple(parts[0].shape)))

    def _stored(self) -> Matrices:
        return self._matrices(layer.here() for layer in self._layers)

    def _exact(self, stored: Matrices) -> Matrices:
        """Add what rounding has removed from the weights, if that is kept."""
        if not is_low_precision(self._layers[0].parameter):
            return stored
        return self._matrices(layer.exact_here() for layer in self._layers)

    def _weight_sums(self, weights: Matrices) -> Tensor:
        assert self._before is not None
        is_moved = on_device([float(layer.is_moved) for layer in self._layers], self._device, self._dtype)
        decays = self._of_layers([group.decay for group in self._groups])
        return weight_sums(self._before, weights, is_moved * decays, self._scratch)

    def _of_layers(self, of_groups: Sequence[Number]) -> Tensor:
        return on_device(of_groups, self._device, self._dtype)[self._group_of_layer]

    def _gradient_sums(self, tensors: Sequence[LayerTensors]) -> tuple[Sharding | None, Tensor | None, Tensor | None]:
        """Return `BatchResult.state_sharding`, `gradient_sums` and `unit_gradient_sq`.

        Sharded tensors always have sums, with zero for missing ones, because a gradient that some ranks lack must not
        change what they send.
        """
        # A stack of several shapes has no sharded state.
        is_padded = self._places is not None
        layout = [one.layer.parameter for one in tensors] if is_padded else _layout_of_state(tensors)
        sharding = sharding_of(layout[0])
        is_whole = sharding is None
        if is_whole and all(one.gradient is None and one.momentum is None for one in tensors):
            return sharding, None, None
        pairs = list(zip(tensors, layout, strict=True))
        gradients = self._matrices(one.here(one.gradient, like) for one, like in pairs)
        sums = gradient_sums(
            gradients, self._matrices(one.here(one.momentum, like) for one, like in pairs), self._scratch
        )
        present = [(one.gradient is not None, one.momentum is not None) for one in tensors]
        if not is_whole:
            sums = self._where([(g, m, g and m) for g, m in present], sums)
        if is_whole and all(one.average is None for one in tensors):
            return sharding, sums, None
        averages = self._matrices(one.here(one.average, like) for one, like in pairs)
        corrections = on_device([one.correction for one in tensors], self._device, self._dtype)
        eps = self._of_layers([group.settings.get("eps", 0.0) for group in self._groups])
        squares = unit_gradient_squares(gradients, averages, corrections, eps, self._scratch)
        return (
            sharding,
            sums,
            squares if is_whole else self._where([one.average is not None for one in tensors], squares),
        )

    def _where(self, is_there: Sequence[Any], sums: Tensor) -> Tensor:
        return sums.where(torch.tensor(is_there).to(self._device, non_blocking=True), 0)

    def _largest(self, weights: Matrices) -> Tensor | None:
        """Return max |w| of each part of each layer (parts, stacked), zero for other ranks' parts, if it is needed."""
        if not self._has_sign_norm:
            return None
        here = largest_entries(weights, self._scratch)
        place, parts = (0, 1) if self._sharding is None else self._sharding.place()
        return torch.stack([here if part == place else torch.zeros_like(here) for part in range(parts)])


def _may_be_padded(layer: WatchedLayer) -> bool:
    """Return whether a layer may share a batch with other shapes: a small matrix or vector that is not sharded."""
    is_whole = all(block == Block((0, layer.matrix_shape[0]), (0, layer.matrix_shape[1])) for block in layer.blocks)
    is_plain = layer.sharding is None and not layer.parameter.is_complex() and layer.parameter.is_contiguous()
    # Momenta that are shared by replicas are measured as they are.
    is_plain = is_plain and not isinstance(layer.group.gradient_and_momentum(layer.parameter)[1], DTensor)
    return is_whole and len(layer.blocks) < 2 and is_plain and layer.parameter.numel() <= SMALL


def _parts(layers: list[WatchedLayer]) -> Iterator[list[WatchedLayer]]:
    """Yield lists of layers that make up one chunk, counted by their whole size because shards differ between ranks."""
    rows, columns = padded_shape(*layers[0].matrix_shape) if _may_be_padded(layers[0]) else (1, 0)
    count = max(1, CHUNK // max(layers[0].parameter.numel(), rows * columns))
    for start in range(0, len(layers), count):
        yield layers[start : start + count]


def _layout_of_state(tensors: Sequence[LayerTensors]) -> list[Tensor]:
    """Return, for each layer, the tensor in whose layout its gradient and state are measured.

    It is the weight, or a momentum that is sharded although the weight is not. A gradient, which is whole on each rank,
    is then measured in parts too, so that the momentum need not be gathered.
    """
    shardings = [None if one.momentum is None else sharding_of(one.momentum) for one in tensors]
    is_cut_alone = shardings[0] is not None and all(sharding_of(one.layer.parameter) is None for one in tensors)
    if is_cut_alone and all(sharding == shardings[0] for sharding in shardings):
        return [one.momentum for one in tensors if one.momentum is not None]
    return [one.layer.parameter for one in tensors]
