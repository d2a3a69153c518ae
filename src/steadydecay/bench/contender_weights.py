"""The parameters of a shape set as tensors, by what optimizers do with them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from steadydecay.bench.shape_sets import Entry

# Of the gradients of the first two matrices of a shape; the largest is 1. Five steps of every
# published iteration bring the first near 1; the second is nearer to gradients as they are.
SMALLEST_SINGULAR_VALUES = (0.05, 0.001)


class ModelWeights(NamedTuple):
    """The weights by kind. Matrices are orthogonalised; tables are embeddings and outputs."""

    matrices: list[Tensor]
    tables: list[Tensor]
    vectors: list[Tensor]

    def every(self) -> list[Tensor]:
        return [*self.matrices, *self.tables, *self.vectors]


def zero_weights(entries: Sequence[Entry], device: torch.device) -> ModelWeights:
    """Create weights of zero, from which a step shows the update itself, without decay or rounding."""
    return _by_kind(entries, [nn.Parameter(torch.zeros(shape, device=device)) for _, shape, _ in entries])


class Gradients(NamedTuple):
    """Gradients in the order of `ModelWeights.every`, and what is known about some of them by their index."""

    tensors: list[Tensor]
    known: dict[int, "Known"]


class Known(NamedTuple):
    """UVᵀ of a gradient, and its smallest singular value if the largest is 1."""

    polar: Tensor
    smallest: float


def random_gradients(entries: Sequence[Entry], device: torch.device, seed: int = 0) -> Gradients:
    """Draw Gaussian gradients, except for the first matrices of each shape, whose singular values are log-spaced."""
    generator = torch.Generator(device).manual_seed(seed)
    gradients = _by_kind(entries, [torch.randn(shape, generator=generator, device=device) for _, shape, _ in entries])
    seen: Counter[tuple[int, ...]] = Counter()
    known: dict[int, Known] = {}
    for index, matrix in enumerate(gradients.matrices):
        shape = tuple(matrix.shape)
        if seen[shape] < len(SMALLEST_SINGULAR_VALUES):
            smallest = SMALLEST_SINGULAR_VALUES[seen[shape]]
            gradients.matrices[index], polar = log_spaced(matrix, smallest)
            known[index] = Known(polar, smallest)
        seen[shape] += 1
    return Gradients(gradients.every(), known)


def log_spaced(matrix: Tensor, smallest: float) -> tuple[Tensor, Tensor]:
    """Return a matrix with singular values from 1 to `smallest`, and its polar factor to the precision of its dtype.

    The singular vectors are those of a Gaussian matrix, and so random. No singular value decomposition is needed, which
    would take minutes for the larger sets.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.mT if is_tall else matrix
    right = torch.linalg.qr(wide.mT).Q
    left = torch.linalg.qr(wide[:, : wide.shape[0]]).Q
    values = smallest ** torch.linspace(0, 1, wide.shape[0], device=matrix.device, dtype=matrix.dtype)
    results = [(left * values) @ right.mT, left @ right.mT]
    first, second = (one.mT.contiguous() if is_tall else one for one in results)
    return first, second


def _by_kind(entries: Sequence[Entry], tensors: Sequence[Tensor]) -> ModelWeights:
    kinds = [{"hidden": 0, "vector": 2}.get(entry.role, 1) for entry in entries]
    return ModelWeights(*([one for one, k in zip(tensors, kinds, strict=True) if k == kind] for kind in range(3)))
