"""Norms of one weight in bounded memory: a few megabytes beside it, whatever its size and dtype."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple, final

import torch
from torch import Tensor

from steadydecay.norms import NormSpec
from steadydecay.tensors.spectral_norm import largest_singular_values

# Entries that are widened to float64 at a time: 8 MB.
PIECE = 2**20
# Entries of small matrices that are measured together, with a basis of several vectors for each: tens of megabytes.
BATCH = 2**16
# Up to this side all eigenvalues take less time than an iteration for one of them.
SMALL_SIDE = 64


@final
class Measures(NamedTuple):
    """Norms of one weight; NaN where an entry is not finite.

    Attributes:
        rms: root of the mean square of its entries.
        norm: Frobenius norm.
        spectral: largest singular value of each of its matrices; empty for vectors and where it was not asked for.
        non_finite: entries that are infinite or NaN.
    """

    rms: float
    norm: float
    spectral: tuple[float, ...]
    non_finite: int


def measures_of_weight(weight: Tensor, matrices: NormSpec | None) -> Measures:
    """Measure a weight, in float64 but for the singular values (float32, right to 1 %); it is not written to.

    Args:
        weight: floating-point, not empty.
        matrices: how it holds matrices (`matrices_in`); None for no spectral norm.
    """
    pieces = weight.detach().reshape(-1).split(PIECE)
    non_finite = sum(int((~piece.double().isfinite()).sum()) for piece in pieces)
    if non_finite:
        spectral = (math.nan,) if matrices is not None else ()
        return Measures(math.nan, math.nan, spectral, non_finite)
    # Squares of 1e-200 and 1e200 leave the range of float64.
    largest = max(float(piece.double().abs().max()) for piece in pieces)
    mean_sq = sum(float((piece.double() / (largest or 1.0)).square().sum()) for piece in pieces) / weight.numel()
    rms = largest * math.sqrt(mean_sq)
    found = () if matrices is None else matrices_in(weight.detach(), matrices)
    spectral = tuple(one for batch in _batches(found) for one in _singular_values(batch, largest))
    return Measures(rms, rms * math.sqrt(weight.numel()), spectral, 0)


def matrices_in(weight: Tensor, spec: NormSpec) -> Iterator[Tensor]:
    """Each matrix in a weight, as views.

    Args:
        weight: (..., n, m), or a kernel (d_out, d_in, k₁, ...) where spec is "spectral_conv".
        spec: "spectral", or a dict of it with `split_sizes` and `transposed` (`steadydecay.norms.Spectral`).

    >>> [tuple(one.shape) for one in matrices_in(torch.ones(2, 4, 3), {"name": "spectral", "split_sizes": (3, 1)})]
    [(3, 3), (1, 3), (3, 3), (1, 3)]
    """
    options = spec if isinstance(spec, dict) else {}
    if "spectral_conv" in (spec, options.get("name")):
        yield weight.flatten(start_dim=1)
        return
    for matrix in weight.reshape(-1, *weight.shape[-2:]):
        matrix = matrix.mT if options.get("transposed") else matrix
        yield from matrix.split(list(options.get("split_sizes") or matrix.shape[:1]))


def _batches(matrices: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Matrices of one shape that follow one another, few enough to stay small: a weight may stack a million."""
    batch: list[Tensor] = []
    for matrix in matrices:
        if batch and (matrix.shape != batch[0].shape or len(batch) * matrix.numel() >= BATCH):
            yield batch
            batch = []
        batch.append(matrix)
    if batch:
        yield batch


def _singular_values(matrices: list[Tensor], largest: float) -> list[float]:
    """The largest of each, as the root of the largest eigenvalue of its smaller Gram matrix.

    One iteration on that does the work of two on the matrix.
    """
    if largest == 0:
        return [0.0] * len(matrices)
    rows, columns = matrices[0].shape
    tall = [matrix if rows >= columns else matrix.mT for matrix in matrices]
    width = min(rows, columns)
    is_small = width <= SMALL_SIDE
    grams = torch.zeros(len(tall), width, width, dtype=torch.float64 if is_small else torch.float32)
    # One alone may be larger than memory should hold twice.
    for parts in zip(*(matrix.split(max(1, PIECE // width)) for matrix in tall), strict=True):
        scaled = (torch.stack(parts).double() / largest).to(grams.dtype)
        grams.baddbmm_(scaled.mT, scaled)
    if is_small:
        return [largest * math.sqrt(max(one, 0.0)) for one in torch.linalg.eigvalsh(grams)[:, -1].tolist()]
    return [largest * math.sqrt(one) for one in largest_singular_values(grams).tolist()]
