"""Layers of one shape and sharding, or small ones of near shapes, of whichever groups, measured together."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from steadydecay.groups.matrix_blocks import Block, matrix_shape
from steadydecay.monitor.chunks import CHUNK, Matrices, Scratch, padded_shape, places_in_stack, stacked_rows
from steadydecay.monitor.host import Number, on_device
from steadydecay.monitor.step_sums import gradient_sums, largest_entries, unit_gradient_squares, weight_sums
from steadydecay.monitor.trend import Trend
from steadydecay.monitor.watched_layer import LayerTensors, MeasuredLayer, WatchedLayer
from steadydecay.monitor.weight_shards import Sharding, local_part
from steadydecay.tensors import spectral_norm
from steadydecay.tensors.low_precision import is_low_precision

# Entries of a weight up to which the calls of a batch of its own take longer than four times its entries.
SMALL = 2**14


class BatchResult(NamedTuple):
    """What is measured of a batch, on the device.

    Attributes:
        layers: in the order of the tensors' rows.
        first_times, times: of each, time constants that had passed at its first measured step, and now.
        weight_sums: `step_sums.weight_sums`.
        gradient_sums: `step_sums.gradient_sums`; None where no layer has a gradient or a momentum.
        unit_gradient_sq: `step_sums.unit_gradient_squares`; None where no layer has a gradient and a second moment.
        largest: max |w| of each, (ranks, stacked) until it is summed over ranks, then (stacked,); None where it is not
            asked for.
        rates: of the norms' `Trend`.
        grams: for each block, what its spectral norm is computed from.
    """

    layers: list[MeasuredLayer]
    first_times: list[Number]
    times: list[Number]
    weight_sums: Tensor
    gradient_sums: Tensor | None
    unit_gradient_sq: Tensor | None
    largest: Tensor | None
    rates: Tensor
    grams: list[Tensor]

    def sums(self) -> list[Tensor]:
        """What adds up over the ranks that share the weights."""
        found = [self.weight_sums, self.gradient_sums, self.unit_gradient_sq, self.largest]
        return [tensor for tensor in found if tensor is not None]


def layer_batches(layers: Sequence[WatchedLayer], scratch: Scratch) -> list["LayerBatch"]:
    """All layers in batches, small ones of near shapes together; the same order on every rank."""
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
    """Layers that are measured together, their weights before a step, and how their norms have changed so far.

    Attributes:
        sharding: how each of them is cut over ranks.
    """

    def __init__(self, layers: Sequence[WatchedLayer], scratch: Scratch) -> None:
        one, here = layers[0], local_part(layers[0].parameter)
        self._layers, self._scratch, self._memory = list(layers), scratch, Scratch()
        self.sharding = one.sharding
        # Of the part that is here: (rows, columns), and where in the whole matrix it begins.
        self._shape, self._first_row = _place(one, here)
        self._blocks, self._has_sign_norm = one.blocks, one.has_sign_norm
        self._places: Tensor | None = None
        if len({layer.matrix_shape for layer in layers}) > 1:
            self._shape = padded_shape(*one.matrix_shape)
            shapes = [layer.matrix_shape for layer in layers]
            self._places = places_in_stack(shapes, self._shape, here.device)
            self._blocks = tuple(Block((0, self._shape[0]), (0, self._shape[1])) for _ in one.blocks)
        self._device, self._dtype = here.device, torch.promote_types(here.dtype, torch.float32)
        self._groups = list(dict.fromkeys(layer.group for layer in layers))
        places = {group: place for place, group in enumerate(self._groups)}
        # Of each layer, in that list.
        self._group_of_layer = torch.tensor([places[layer.group] for layer in layers]).to(self._device)
        self._before: Tensor | None = None
        # As they are stored after the step that is being measured.
        self._now: Matrices | None = None
        self._trend = Trend.new(len(layers), here.device)
        # For each block, vectors (stacked, columns, r) near the top right singular vectors.
        sizes = [(block.rows[1] - block.rows[0], block.columns[1] - block.columns[0]) for block in self._blocks]
        bases = [spectral_norm.starting_basis(len(layers), *size, here.device) for size in sizes]
        self._bases = [basis.to(self._dtype) for basis in bases]

    def remember(self) -> None:
        """Keep a copy of the weights, in memory that the next copy uses again."""
        weights = self._exact(self._stored())
        if weights.places is not None:
            # In memory of its own, for other batches are remembered before this one is measured.
            self._before = stacked_rows(weights, slice(0, self._shape[0]), self._memory, "before")
            return
        parts = weights.parts
        if self._before is None or self._before.dtype != parts[0].dtype:
            self._before = parts[0].new_empty((len(parts), *self._shape))
        torch.stack(parts, out=self._before.view(len(parts), *parts[0].shape))

    def sums(self) -> BatchResult:
        """What adds up over ranks of the step since `remember`; `finish_step` fills in the rest."""
        self._now = self._stored()
        exact = self._exact(self._now)
        tensors = [layer.tensors() for layer in self._layers]
        layers = [one.layer.measured(one) for one in tensors]
        first_times, times = map(list, zip(*(layer.times() for layer in self._layers), strict=True))
        gradients, unit_gradients = self._gradient_sums(tensors)
        weights, largest = self._weight_sums(exact), self._largest(self._now)
        return BatchResult(
            layers=layers,
            first_times=first_times,
            times=times,
            weight_sums=weights,
            gradient_sums=gradients,
            unit_gradient_sq=unit_gradients,
            largest=largest,
            rates=self._trend.rate,
            grams=[],
        )

    def products(self) -> int:
        """How many with MᵀM: many where the vectors know nothing of the matrix, as of zeros before their first step.

        One where they span all columns, and few where they are as many as the rows: the first finds what these span.
        """
        if all(basis.shape[1] == basis.shape[2] for basis in self._bases):
            return 1
        if all(basis.shape[2] < spectral_norm.VECTORS or basis.shape[1] == basis.shape[2] for basis in self._bases):
            return spectral_norm.WARM_ITERATIONS
        is_new = all(layer.is_new for layer in self._layers)
        is_cold = is_new or any(layer.is_turned and not layer.is_warm for layer in self._layers)
        return spectral_norm.COLD_ITERATIONS if is_cold else spectral_norm.WARM_ITERATIONS

    def images(self) -> list[Tensor]:
        """MᵀMV of the rows that are here, for each block's basis V."""
        assert self._now is not None
        weights, images = self._now, [torch.zeros_like(basis) for basis in self._bases]
        for rows in weights.chunks() if images else ():
            chunk = stacked_rows(weights, rows, self._scratch, "weights")
            for block, basis, total in zip(self._blocks, self._bases, images, strict=True):
                part = _rows_of(block, self._first_row + rows.start, chunk)
                if part.shape[1]:
                    total += spectral_norm.image(part, basis)
        return images

    def turn(self, images: Sequence[Tensor]) -> None:
        """Let the bases follow their images; one that spans all columns has nowhere to go."""
        self._bases = [
            basis if basis.shape[1] == basis.shape[2] else spectral_norm.next_basis(image, basis)
            for image, basis in zip(images, self._bases, strict=True)
        ]

    def finish_step(self, result: BatchResult, images: Sequence[Tensor]) -> BatchResult:
        """What `sums` gave, completed: it and the last `images` are summed over ranks by now."""
        self._now = None
        times = zip(result.first_times, result.times, strict=True)
        elapsed = [layer.finish_step(*of_layer) for layer, of_layer in zip(self._layers, times, strict=True)]
        self._trend = self._trend.after(result.weight_sums[:, 1], on_device(elapsed, self._device, torch.float32))
        largest = None if result.largest is None else result.largest.amax(dim=0)
        grams = [spectral_norm.image_gram(of_block) for of_block in images]
        return result._replace(largest=largest, rates=self._trend.rate, grams=grams)

    def state(self) -> dict[str, dict[str, Any]]:
        """By name, what must be kept of each layer to go on exactly."""
        return {
            layer.name: {
                **layer.state(),
                "rate": self._trend.rate[at].clone(),
                "log_norm": self._trend.log_norm[at].clone(),
                "bases": [basis[at].clone() for basis in self._bases],
            }
            for at, layer in enumerate(self._layers)
        }

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take what `state` gave of the layers that are here; bases of another shape begin anew."""
        for at, layer in enumerate(self._layers):
            if (kept := state.get(layer.name)) is None:
                continue
            has_vectors = [basis.shape for basis in kept["bases"]] == [basis.shape[1:] for basis in self._bases]
            layer.restore(kept, has_vectors)
            self._trend.rate[at], self._trend.log_norm[at] = kept["rate"], kept["log_norm"]
            for basis, of_layer in zip(self._bases, kept["bases"], strict=True) if has_vectors else ():
                basis[at] = of_layer

    def _matrices(self, parts: Iterable[Tensor]) -> Matrices:
        return Matrices(list(parts), self._shape, self._places)

    def _stored(self) -> Matrices:
        return self._matrices(layer.here() for layer in self._layers)

    def _exact(self, stored: Matrices) -> Matrices:
        """With what rounding took off them, where it can be kept."""
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

    def _gradient_sums(self, tensors: Sequence[LayerTensors]) -> tuple[Tensor | None, Tensor | None]:
        """`BatchResult.gradient_sums` and `unit_gradient_sq`."""
        if all(one.gradient is None and one.momentum is None for one in tensors):
            return None, None
        gradients = self._matrices(one.here(one.gradient) for one in tensors)
        sums = gradient_sums(gradients, self._matrices(one.here(one.momentum) for one in tensors), self._scratch)
        if all(one.average is None for one in tensors):
            return sums, None
        averages = self._matrices(one.here(one.average) for one in tensors)
        corrections = on_device([one.correction for one in tensors], self._device, self._dtype)
        eps = self._of_layers([group.settings.get("eps", 0.0) for group in self._groups])
        return sums, unit_gradient_squares(gradients, averages, corrections, eps, self._scratch)

    def _largest(self, weights: Matrices) -> Tensor | None:
        """max |w| of each rank's part of each layer (ranks, stacked), zeros for other ranks; where it is asked for."""
        if not self._has_sign_norm:
            return None
        here = largest_entries(weights, self._scratch)
        sharding = self.sharding or Sharding(None, 0, 1)
        return torch.stack([here if rank == sharding.rank else here * 0 for rank in range(sharding.size)])


def _may_be_padded(layer: WatchedLayer) -> bool:
    """Whether it may share a batch with others of other shapes: a small matrix or vector that is whole."""
    is_whole = all(block == Block((0, layer.matrix_shape[0]), (0, layer.matrix_shape[1])) for block in layer.blocks)
    is_plain = layer.sharding is None and not layer.parameter.is_complex() and layer.parameter.is_contiguous()
    return is_whole and len(layer.blocks) < 2 and is_plain and layer.parameter.numel() <= SMALL


def _parts(layers: list[WatchedLayer]) -> Iterator[list[WatchedLayer]]:
    """Lists of so many layers as make up one chunk together, by their whole size: shards differ from rank to rank."""
    rows, columns = padded_shape(*layers[0].matrix_shape) if _may_be_padded(layers[0]) else (1, 0)
    count = max(1, CHUNK // max(layers[0].parameter.numel(), rows * columns))
    for start in range(0, len(layers), count):
        yield layers[start : start + count]


def _place(layer: WatchedLayer, here: Tensor) -> tuple[tuple[int, int], int]:
    """(rows, columns) of the part of a layer that is here, and where in the whole matrix it begins."""
    if layer.parameter.ndim < 2:
        return matrix_shape({}, (here.numel(),)), 0
    rows, columns = layer.matrix_shape
    length = layer.parameter.shape[0]
    first = layer.sharding.first_row(length) if layer.sharding else 0
    return (here.shape[0] * (rows // length), columns), first * (rows // length)


def _rows_of(block: Block, first_row: int, chunk: Tensor) -> Tensor:
    """The part of a block that lies in a chunk (stacked, rows, columns) beginning at a row of the whole matrix."""
    start, stop = (max(0, min(chunk.shape[1], row - first_row)) for row in block.rows)
    return chunk[:, start:stop, slice(*block.columns)]
