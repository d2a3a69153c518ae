"""The matrices that a parameter holds, as ranges of the parameter seen as one matrix."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from steadydecay.groups.fused import split_sizes
from steadydecay.norms import Spectral, SpectralConv, norm_for

# A long vector is seen as this many rows, so that its sums stay exact: float32 sums of 10⁷ terms lose three digits on
# CPUs.
VECTOR_ROW = 1024

FusedSizes = tuple[int, ...] | None


class Block(NamedTuple):
    """The rows and columns of one matrix, as half-open ranges."""

    rows: tuple[int, int]
    columns: tuple[int, int]


def matrix_shape(group: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (rows, columns) of a parameter seen as one matrix: kernels are (d_out, d_in · k), stacks concatenated."""
    size = math.prod(shape)
    if len(shape) < 2:
        return (size // VECTOR_ROW, VECTOR_ROW) if size and size % VECTOR_ROW == 0 else (1, size)
    return (shape[0], math.prod(shape[1:])) if _is_kernel(group, shape) else (math.prod(shape[:-1]), shape[-1])


def blocks_of(group: Mapping[str, Any], shape: tuple[int, ...], name: str = "") -> list[Block]:
    """Return the matrices in a parameter of this shape: none in a vector, and each of a stack or of several fused ones.

    Args:
        group: The group, whose norm says what is fused if it has one.
        shape: The shape of the parameter.
        name: The name of the parameter in its model, which says what is fused if the group has no norm.
    """
    rows, columns = matrix_shape(group, shape)
    if len(shape) < 2 or group.get("role") == "vector" or not rows * columns:
        return []
    if _is_kernel(group, shape):
        return [Block((0, rows), (0, columns))]
    height, width = shape[-2:]
    heights, widths = _fused_sizes(group, shape, name)
    return [
        Block(of_rows, of_columns)
        for top in range(0, rows, height)
        for of_rows in _ranges(top, heights or (height,))
        for of_columns in _ranges(0, widths or (width,))
    ]


def _fused_sizes(group: Mapping[str, Any], shape: tuple[int, ...], name: str) -> tuple[FusedSizes, FusedSizes]:
    """Return the sizes of matrices that are fused along the rows, and along the columns; none if nothing is fused."""
    if "norm" in group:
        norm = norm_for(group["norm"], len(shape))
        sizes = norm.split_sizes if isinstance(norm, Spectral) else None
        return (None, sizes) if isinstance(norm, Spectral) and norm.transposed else (sizes, None)
    rows, columns = shape[-2:]
    # A name alone does not tell whether gate and up are interleaved or not.
    heights, widths = (split_sizes(name, *sides, is_interleaved=True) for sides in ((rows, columns), (columns, rows)))
    return (heights, None) if heights else (None, widths)


def _ranges(start: int, sizes: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    for size in sizes:
        yield start, start + size
        start += size


def _is_kernel(group: Mapping[str, Any], shape: tuple[int, ...]) -> bool:
    if "norm" in group and len(shape) > 2:
        return isinstance(norm_for(group["norm"], len(shape)), SpectralConv)
    return len(shape) > 3 or (len(shape) == 3 and group.get("role") == "conv")
