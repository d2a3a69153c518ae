"""Layers of one group and shape, measured as a batch."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from steadydecay.groups.matrix_blocks import Block, matrix_shape
from steadydecay.monitor.chunks import CHUNK, Matrices, Scratch, stacked_rows
from steadydecay.monitor.step_sums import largest_entries, weight_sums
from steadydecay.monitor.trend import Trend
from steadydecay.monitor.watched_layers import Layer
from steadydecay.monitor.weight_shards import Sharding, local_part, sharding_of
from steadydecay.tensors import spectral_norm


class StackKey(NamedTuple):
    """What the layers of a stack have in common.

    Attributes:
        shape: (rows, columns) of the part of each that is here.
        first_row: where in the whole matrix that part begins.
    """

    group: int
    shape: tuple[int, int]
    first_row: int
    blocks: tuple[Block, ...]
    has_sign_norm: bool
    dtype: torch.dtype
    device: torch.device
    sharding: Sharding | None


def stacks_of(layers: Sequence[Layer], scratch: Scratch) -> list["Stack"]:
    """All layers in stacks; the same order on every rank."""
    alike: dict[Any, list[Layer]] = defaultdict(list)
    for layer in layers:
        whole = (layer.group, layer.parameter.shape, layer.blocks, layer.has_sign_norm)
        alike[*whole, layer.parameter.dtype, layer.parameter.device, layer.parameter.is_contiguous()].append(layer)
    parts = [part for of_shape in alike.values() for part in _parts(of_shape)]
    return [Stack(_key(part[0]), part, scratch) for part in parts]


@final
class Stack:
    """What a stack of layers was before a step, and what is known of it.

    Attributes:
        layers: of one `StackKey`.
        trend: of their norms.
        bases: for each block, vectors (stacked, columns, r) near the top right singular vectors.
        has_moved: of each layer, whether a measured step has moved it.
        is_warm: likewise, with an lr that is not 0: its vectors are its own.
        times: of each layer, time constants at its first and its last report.
    """

    def __init__(self, key: StackKey, layers: Sequence[Layer], scratch: Scratch) -> None:
        self.layers, self.key, self._scratch = list(layers), key, scratch
        self._before: Tensor | None = None
        self.dtype = torch.promote_types(key.dtype, torch.float32)
        self.trend = Trend.new(len(layers), key.device)
        sizes = [(block.rows[1] - block.rows[0], block.columns[1] - block.columns[0]) for block in key.blocks]
        bases = [spectral_norm.starting_basis(len(layers), *size, key.device) for size in sizes]
        self.bases = [basis.to(self.dtype) for basis in bases]
        self.has_moved = [False] * len(layers)
        self.is_warm = [False] * len(layers)
        self.times: list[tuple[Any, Any] | None] = [None] * len(layers)

    @property
    def is_new(self) -> bool:
        return all(times is None for times in self.times)

    def matrices(self, tensors: Sequence[Tensor]) -> Matrices:
        """The parts that are here of tensors shaped as the weights."""
        parts = [local_part(one, layer.parameter) for one, layer in zip(tensors, self.layers, strict=True)]
        return Matrices(parts, self.key.shape)

    def weights(self) -> Matrices:
        return self.matrices([layer.parameter for layer in self.layers])

    def remember(self) -> None:
        """Keep a copy of the weights, in memory that the next copy uses again."""
        parts = self.weights().parts
        if self._before is None:
            self._before = torch.empty((len(parts), *self.key.shape), dtype=self.key.dtype, device=self.key.device)
        torch.stack(parts, out=self._before.view(len(parts), *parts[0].shape))

    def weight_sums(self, decays: Tensor) -> Tensor:
        """`step_sums.weight_sums` since `remember`."""
        assert self._before is not None
        return weight_sums(self._before, self.weights(), decays, self._scratch)

    def largest(self) -> Tensor | None:
        """max |w| of each rank's part of each layer (ranks, stacked), zeros for other ranks; where it is asked for."""
        if not self.key.has_sign_norm:
            return None
        here = largest_entries(self.weights(), self._scratch)
        sharding = self.key.sharding or Sharding(None, 0, 1)
        return torch.stack([here if rank == sharding.rank else here * 0 for rank in range(sharding.size)])

    def images(self) -> list[Tensor]:
        """MᵀMV of the rows that are here, for each block's basis V."""
        weights, images = self.weights(), [torch.zeros_like(basis) for basis in self.bases]
        for rows in weights.chunks() if images else ():
            chunk = stacked_rows(weights, rows, self._scratch, "weights")
            for block, basis, total in zip(self.key.blocks, self.bases, images, strict=True):
                part = _rows_of(block, self.key.first_row + rows.start, chunk)
                if part.shape[1]:
                    total += spectral_norm.image(part, basis)
        return images

    def turn(self, images: Sequence[Tensor]) -> None:
        """Let the bases follow their images."""
        self.bases = [spectral_norm.next_basis(*pair) for pair in zip(images, self.bases, strict=True)]

    def state_of(self, position: int) -> dict[str, Any]:
        """What must be kept of one layer to go on exactly."""
        times = self.times[position]
        return {
            "rate": self.trend.rate[position].clone(),
            "log_norm": self.trend.log_norm[position].clone(),
            "bases": [basis[position].clone() for basis in self.bases],
            "has_moved": self.has_moved[position],
            "is_warm": self.is_warm[position],
            "times": None if times is None else tuple(float(time) for time in times),
        }

    def restore(self, position: int, state: Mapping[str, Any]) -> None:
        """Take what `state_of` gave; bases of another shape begin anew."""
        self.trend.rate[position] = state["rate"]
        self.trend.log_norm[position] = state["log_norm"]
        self.times[position], self.has_moved[position] = state["times"], state["has_moved"]
        if [basis.shape for basis in state["bases"]] == [basis.shape[1:] for basis in self.bases]:
            self.is_warm[position] = state["is_warm"]
            for basis, kept in zip(self.bases, state["bases"], strict=True):
                basis[position] = kept


def _parts(layers: list[Layer]) -> Iterator[list[Layer]]:
    """Lists of so many layers as make up one chunk together, by their whole size: shards differ from rank to rank."""
    count = max(1, CHUNK // layers[0].parameter.numel())
    for start in range(0, len(layers), count):
        yield layers[start : start + count]


def _key(layer: Layer) -> StackKey:
    parameter, sharding = layer.parameter, sharding_of(layer.parameter)
    here = local_part(parameter)
    rows, columns = layer.matrix_shape
    if parameter.ndim < 2:
        shape, first_row = matrix_shape({}, (here.numel(),)), 0
    else:
        per_slice = rows // parameter.shape[0]
        shape = (here.shape[0] * per_slice, columns)
        first_row = sharding.first_row(parameter.shape[0]) * per_slice if sharding else 0
    return StackKey(layer.group, shape, first_row, layer.blocks, layer.has_sign_norm, here.dtype, here.device, sharding)


def _rows_of(block: Block, first_row: int, chunk: Tensor) -> Tensor:
    """The part of a block that lies in a chunk (stacked, rows, columns) beginning at a row of the whole matrix."""
    start, stop = (max(0, min(chunk.shape[1], row - first_row)) for row in block.rows)
    return chunk[:, start:stop, slice(*block.columns)]
