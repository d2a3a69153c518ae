"""Build a stack of matrices of norm just below 1, from which every form of the Polar Express starts."""

# torch's foreach functions are not public.
# pyright: reportPrivateImportUsage=false

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from steadydecay.polar.coefficients import SAFETY_FACTOR
from steadydecay.tensors.row_blocks import BLOCK_ENTRIES, row_blocks
from steadydecay.tensors.unit_vectors import unit_vectors_

# Between these norms no square of a float32 entry underflows, and their sum does not overflow.
SMALLEST_PLAIN_NORM, LARGEST_PLAIN_NORM = 1e-12, 1e15


def unit_stack(tensors: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Stack every matrix of `tensors`, divided by its Frobenius norm and the safety factor.

    All tensors have one shape (..., n, m).

    Returns:
        A tensor (number of matrices, n, m) in `dtype`, rounded to it once, in memory that nothing else uses. A matrix
        of zeros stays zero.
    """
    first = tensors[0]
    is_readable = first.device.type == "cpu" and first.numel() > 0 and not torch.compiler.is_compiling()
    if is_readable and first.dtype in (torch.float32, torch.float64):
        return _by_norms_on_the_host(_matrices_of(tensors), dtype)
    stack = torch.stack(list(tensors))
    shape = math.prod(stack.shape[:-2]), *stack.shape[-2:]
    # Reduce over one dimension: reducing over two takes several times as long on a CPU.
    vectors = stack.view(shape).flatten(start_dim=1).to(torch.promote_types(stack.dtype, torch.float32))
    return unit_vectors_(vectors, dim=1, length=1 / SAFETY_FACTOR).to(dtype).view(shape)


def _by_norms_on_the_host(matrices: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Use three fewer passes over memory than `unit_vectors_`, but read the norms, which would wait for a GPU."""
    norms = _norms(matrices)
    if not all(SMALLEST_PLAIN_NORM < norm < LARGEST_PLAIN_NORM for norm in norms):
        matrices = list(torch._foreach_div(matrices, [_power_of_two_below(matrix) for matrix in matrices]))
        norms = _norms(matrices)
    scales = [1 / (SAFETY_FACTOR * norm) if norm != 0 else 1.0 for norm in norms]
    stack = torch.empty(len(matrices), *matrices[0].shape, dtype=dtype, device=matrices[0].device)
    if matrices[0].numel() <= BLOCK_ENTRIES:
        # A few calls handle many matrices: 10⁴ small ones would take half as long again one by one.
        torch._foreach_copy_(list(stack.unbind()), torch._foreach_mul(matrices, scales))
        return stack
    for result, matrix, scale in zip(stack, matrices, scales, strict=True):
        for some, of_result in row_blocks(matrix, result):
            torch.mul(some, scale, out=of_result)
    return stack


def _norms(matrices: list[Tensor]) -> list[float]:
    return [float(norm) for norm in torch._foreach_norm(matrices)]


def _power_of_two_below(matrix: Tensor) -> float:
    """Return a divisor that brings the largest entry between 1 and 2 without changing any digit."""
    largest = float(matrix.abs().amax())
    return 2.0 ** math.floor(math.log2(largest)) if 0 < largest < math.inf else 1.0


def _matrices_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    if tensors[0].ndim == 2:
        return list(tensors)
    return [matrix for tensor in tensors for matrix in tensor.flatten(end_dim=-3).unbind()]
