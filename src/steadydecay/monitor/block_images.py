"""MᵀMV of each matrix M in weights of one layout, whose rows and columns may be sharded over ranks; only vectors
travel.

If only columns are sharded, Mᵀ, whose singular values are the same, stands in for M: then the image is a sum of the
images of the parts, as it is if rows are sharded. If both are sharded, MV is first summed over the ranks that share the
columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from steadydecay.groups.block_parts import BlockPart, block_parts, cut_sides
from steadydecay.groups.index_runs import Runs, taken
from steadydecay.groups.matrix_blocks import Block
from steadydecay.monitor.chunks import Matrices, Scratch, stacked_rows
from steadydecay.parallel.shards import PartialSum, Sharding
from steadydecay.tensors import spectral_norm


@final
class BlockImages:
    """How the images of the blocks of one layout are computed.

    Attributes:
        is_transposed: Whether Mᵀ stands in for M.
        sizes: (rows, columns) of each block, after this transposition.
    """

    def __init__(
        self, settings: Mapping[str, Any], shape: tuple[int, ...], blocks: Sequence[Block], sharding: Sharding | None
    ) -> None:
        cut = cut_sides(settings, shape, sharding)
        self._parts = block_parts(settings, shape, blocks, sharding) if blocks else []
        self.is_transposed = bool(cut.columns) and not cut.rows
        self.sizes = [self._turned(part.shape) for part in self._parts]
        self._is_cut_twice = bool(cut.columns) and bool(cut.rows)
        self._column_groups = sharding.groups(cut.columns) if sharding is not None and self._is_cut_twice else []

    def _turned(self, shape: tuple[int, int]) -> tuple[int, int]:
        return (shape[1], shape[0]) if self.is_transposed else shape

    def halves(self, weights: Matrices, bases: Sequence[Tensor], scratch: Scratch) -> list[Tensor]:
        """Return MV of the local rows if it must be summed over ranks before the images, or else nothing."""
        return self._forward(weights, bases, scratch) if self._is_cut_twice else []

    def partial(self, halves: Sequence[Tensor]) -> PartialSum:
        """Return the halves, and the ranks over which they add up."""
        return self._column_groups, halves

    def images(
        self, weights: Matrices, bases: Sequence[Tensor], halves: Sequence[Tensor], scratch: Scratch
    ) -> list[Tensor]:
        """Return MᵀMV of the local part, for each block's basis V; the parts of all ranks add up."""
        if self.is_transposed:
            halves = self._forward(weights, bases, scratch)
        elif not halves:
            return self._images_of_rows(weights, bases, scratch)
        images = [torch.zeros_like(basis) for basis in bases]
        for rows, chunk in _chunks(weights, self._parts, scratch):
            for part, image, half in zip(self._parts, images, halves, strict=True):
                here, within = _in_chunk(part, rows, chunk)
                if self.is_transposed:
                    _add_along(image, _places(part.row_places, within), here @ half)
                else:
                    _add_along(image, part.column_places, here.mT @ half[:, within])
        return images

    def _images_of_rows(self, weights: Matrices, bases: Sequence[Tensor], scratch: Scratch) -> list[Tensor]:
        """Compute the images in one pass, if all columns are local."""
        images = [torch.zeros_like(basis) for basis in bases]
        for rows, chunk in _chunks(weights, self._parts, scratch):
            for part, basis, image in zip(self._parts, bases, images, strict=True):
                here, _ = _in_chunk(part, rows, chunk)
                if here.shape[1]:
                    image += spectral_norm.image(here, basis)
        return images

    def _forward(self, weights: Matrices, bases: Sequence[Tensor], scratch: Scratch) -> list[Tensor]:
        """Return MV of the local rows and columns, with Mᵀ for M if it stands in."""
        sides = [part.columns if self.is_transposed else part.rows for part in self._parts]
        halves = [
            basis.new_zeros((len(basis), side.stop - side.start, basis.shape[2]))
            for basis, side in zip(bases, sides, strict=True)
        ]
        for rows, chunk in _chunks(weights, self._parts, scratch):
            for part, basis, half in zip(self._parts, bases, halves, strict=True):
                here, within = _in_chunk(part, rows, chunk)
                if self.is_transposed:
                    half += here.mT @ _at(basis, _places(part.row_places, within))
                else:
                    half[:, within] += here @ _at(basis, part.column_places)
        return halves


def _chunks(weights: Matrices, parts: Sequence[BlockPart], scratch: Scratch) -> Iterator[tuple[slice, Tensor]]:
    """Yield ranges of local rows, each with these rows as a batch (stacked, rows, columns)."""
    for rows in weights.chunks() if parts else ():
        yield rows, stacked_rows(weights, rows, scratch, "weights")


def _in_chunk(part: BlockPart, rows: slice, chunk: Tensor) -> tuple[Tensor, slice]:
    """Return the part of a block in a chunk, and which of the block's local rows these are."""
    start, stop = (max(0, min(chunk.shape[1], row - rows.start)) for row in (part.rows.start, part.rows.stop))
    first = max(0, rows.start + start - part.rows.start)
    return chunk[:, start:stop, part.columns], slice(first, first + stop - start)


def _places(runs: Runs, within: slice) -> Runs:
    return taken(runs, within.start, within.stop)


def _at(vectors: Tensor, runs: Runs) -> Tensor:
    """Return the rows of (stacked, rows, r) with these numbers."""
    parts = [vectors[:, run.start : run.stop] for run in runs]
    return parts[0] if len(parts) == 1 else torch.cat([vectors[:, :0], *parts], dim=1)


def _add_along(total: Tensor, runs: Runs, values: Tensor) -> None:
    """Add rows of (stacked, rows, r) to the rows with these numbers."""
    for run, of_run in zip(runs, values.split([len(run) for run in runs], dim=1) if runs else (), strict=True):
        total[:, run.start : run.stop] += of_run
