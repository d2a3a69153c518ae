"""Which matrices a parameter holds, as ranges of it seen as one matrix."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from steadydecay.norms import Spectral, SpectralConv, norm_for

# Rows that a long vector is seen as, so that its sums stay exact: float32 sums of 10⁷ terms lose three digits on CPUs.
VECTOR_ROW = 1024


class Block(NamedTuple):
    """Rows and columns of one matrix, as half-open ranges."""

    rows: tuple[int, int]
    columns: tuple[int, int]


def matrix_shape(group: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[int, int]:
    """(rows, columns) of a parameter seen as one matrix: kernels are (d_out, d_in · k), stacks lie below each other."""
    size = math.prod(shape)
    if len(shape) < 2:
        return (size // VECTOR_ROW, VECTOR_ROW) if size and size % VECTOR_ROW == 0 else (1, size)
    return (shape[0], math.prod(shape[1:])) if _is_kernel(group, shape) else (math.prod(shape[:-1]), shape[-1])


def blocks_of(group: Mapping[str, Any], shape: tuple[int, ...]) -> list[Block]:
    """The matrices in a parameter of this shape: none in a vector; each of a stack, and each that the norm splits."""
    rows, columns = matrix_shape(group, shape)
    if len(shape) < 2 or group.get("role") == "vector" or not rows * columns:
        return []
    height = rows if _is_kernel(group, shape) else shape[-2]
    spectral = _spectral_of(group, shape)
    sizes = spectral.split_sizes if spectral else None
    tops = [(top, top + height) for top in range(0, rows, height)]
    if sizes is None:
        return [Block(top, (0, columns)) for top in tops]
    if spectral is not None and spectral.transposed:
        return [Block(top, part) for top in tops for part in _ranges(0, sizes)]
    return [Block(part, (0, columns)) for top in tops for part in _ranges(top[0], sizes)]


def _ranges(start: int, sizes: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    for size in sizes:
        yield start, start + size
        start += size


def _is_kernel(group: Mapping[str, Any], shape: tuple[int, ...]) -> bool:
    if "norm" in group and len(shape) > 2:
        return isinstance(norm_for(group["norm"], len(shape)), SpectralConv)
    return len(shape) > 3 or (len(shape) == 3 and group.get("role") == "conv")


def _spectral_of(group: Mapping[str, Any], shape: tuple[int, ...]) -> Spectral | None:
    norm = norm_for(group["norm"], len(shape)) if "norm" in group else None
    return norm if isinstance(norm, Spectral) else None
