"""The part of each matrix of a parameter that this process holds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from steadydecay.groups.index_runs import Runs, below, flattened, taken
from steadydecay.groups.matrix_blocks import Block, matrix_shape
from steadydecay.parallel.shards import Sharding


class BlockPart(NamedTuple):
    """The rows and columns of a matrix that this process holds.

    Attributes:
        rows, columns: Where they are in the local part of the parameter, seen as one matrix.
        row_places, column_places: Where they are in the matrix, counted from its own first row and column.
        shape: The shape of the whole matrix.
    """

    rows: slice
    columns: slice
    row_places: Runs
    column_places: Runs
    shape: tuple[int, int]

    def of(self, matrices: Tensor) -> Tensor:
        """Return a view of this part in `matrices` (..., rows, columns), the local part of the parameter."""
        return matrices[..., self.rows, self.columns]


class CutSides(NamedTuple):
    """The sharded dimensions among those that are the rows, and the columns, of a parameter seen as one matrix."""

    rows: set[int]
    columns: set[int]


def block_parts(
    group: Mapping[str, Any], shape: tuple[int, ...], blocks: Sequence[Block], sharding: Sharding | None
) -> list[BlockPart]:
    """Return the local parts of these matrices of a parameter of this shape, which has two dimensions or more."""
    region = [(0, size) for size in shape] if sharding is None else sharding.region(shape)
    runs = [[range(*limits)] for limits in region]
    sides = _row_dimensions(group, shape)
    rows, columns = _as_one(runs[:sides], shape[:sides]), _as_one(runs[sides:], shape[sides:])
    return [_part(block, rows, columns) for block in blocks]


def cut_sides(group: Mapping[str, Any], shape: tuple[int, ...], sharding: Sharding | None) -> CutSides:
    """Return which dimensions of the rows and of the columns are sharded."""
    cut, sides = set() if sharding is None else sharding.cut_dimensions(), _row_dimensions(group, shape)
    return CutSides({one for one in cut if one < sides}, {one for one in cut if one >= sides})


def _row_dimensions(group: Mapping[str, Any], shape: tuple[int, ...]) -> int:
    """Return how many of the first dimensions make up the rows of a parameter seen as one matrix."""
    rows = matrix_shape(group, shape)[0]
    return next((at for at in range(1, len(shape)) if math.prod(shape[:at]) == rows), len(shape) - 1)


def _as_one(runs: Sequence[Runs], shape: Sequence[int]) -> Runs:
    """Return the runs of several dimensions seen as one dimension."""
    found: Runs = [range(1)]
    for of_dimension, size in zip(runs, shape, strict=True):
        found = flattened(found, of_dimension, size)
    return found


def _part(block: Block, rows: Runs, columns: Runs) -> BlockPart:
    (of_rows, row_places), (of_columns, column_places) = _within(block.rows, rows), _within(block.columns, columns)
    shape = (block.rows[1] - block.rows[0], block.columns[1] - block.columns[0])
    return BlockPart(of_rows, of_columns, row_places, column_places, shape)


def _within(limits: tuple[int, int], runs: Runs) -> tuple[slice, Runs]:
    """Return which of the local entries lie within the limits, and their places within these."""
    start, stop = below(runs, limits[0]), below(runs, limits[1])
    return slice(start, stop), [range(run.start - limits[0], run.stop - limits[0]) for run in taken(runs, start, stop)]
