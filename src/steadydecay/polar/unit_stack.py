"""A stack of matrices of norm just below 1: where every form of the Polar Express starts."""

# torch's foreach functions have no public names.
# pyright: reportPrivateImportUsage=false

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from steadydecay.polar.coefficients import SAFETY_FACTOR
from steadydecay.tensors.row_blocks import row_blocks
from steadydecay.tensors.unit_vectors import unit_vectors_

# Between them no square of a float32 entry is lost, nor infinite their sum.
SMALLEST_PLAIN_NORM, LARGEST_PLAIN_NORM = 1e-12, 1e15


def unit_stack(tensors: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Every matrix of `tensors`, all of one shape (..., n, m), divided by its Frobenius norm and the safety factor.

    Returns:
        (number of matrices, n, m) in `dtype`, rounded to it once; its memory is nobody else's. A matrix of zeros stays.
    """
    first = tensors[0]
    computed = torch.promote_types(first.dtype, torch.float32)
    if first.device.type == "cpu" and first.numel() > 0 and not torch.compiler.is_compiling():
        return _by_norms_on_the_host(_matrices_of(tensors), dtype, computed)
    stack = torch.stack(list(tensors))
    shape = math.prod(stack.shape[:-2]), *stack.shape[-2:]
    # One dimension to reduce, not two, which takes several times as long on a CPU.
    vectors = stack.view(shape).flatten(start_dim=1).to(computed)
    return unit_vectors_(vectors, dim=1, length=1 / SAFETY_FACTOR).to(dtype).view(shape)


def _by_norms_on_the_host(matrices: list[Tensor], dtype: torch.dtype, computed: torch.dtype) -> Tensor:
    """Three passes over memory fewer than `unit_vectors_`, but a look at norms, which would wait for a GPU."""
    norms = _norms(matrices, computed)
    if not all(SMALLEST_PLAIN_NORM < norm < LARGEST_PLAIN_NORM for norm in norms):
        matrices = list(torch._foreach_div(matrices, [_power_of_two_below(matrix) for matrix in matrices]))
        norms = _norms(matrices, computed)
    scales = [1 / (SAFETY_FACTOR * norm) if norm != 0 else 1.0 for norm in norms]
    stack = torch.empty(len(matrices), *matrices[0].shape, dtype=dtype, device=matrices[0].device)
    for result, matrix, scale in zip(stack, matrices, scales, strict=True):
        for some, of_result in row_blocks(matrix, result):
            torch.mul(some.to(computed), scale, out=of_result)
    return stack


def _norms(matrices: list[Tensor], computed: torch.dtype) -> list[float]:
    return [float(norm) for norm in torch._foreach_norm(matrices, dtype=computed)]


def _power_of_two_below(matrix: Tensor) -> float:
    """A divisor that changes no digit and brings the largest entry between 1 and 2."""
    largest = float(matrix.abs().amax())
    return 2.0 ** math.floor(math.log2(largest)) if 0 < largest < math.inf else 1.0


def _matrices_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    if tensors[0].ndim == 2:
        return list(tensors)
    return [matrix for tensor in tensors for matrix in tensor.flatten(end_dim=-3).unbind()]
