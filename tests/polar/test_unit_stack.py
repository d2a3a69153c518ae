"""The start of the iteration: every matrix at norm 1/1.01, at any scale, with one rounding."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from steadydecay.polar.coefficients import SAFETY_FACTOR
from steadydecay.polar.unit_stack import unit_stack

NORM = 1 / SAFETY_FACTOR


def gaussian(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def as_in_a_graph(tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
    """By the way that GPUs and graphs take."""
    torch._dynamo.reset()
    compiled: Any = torch.compile(unit_stack, backend="eager", fullgraph=True)
    return compiled(tensors, dtype)


WAYS = {"host": unit_stack, "device": as_in_a_graph}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30, 1e-36, 2.0**-140])
@pytest.mark.parametrize("shape", [(5, 9), (3, 5, 4), (2, 3, 4, 4)])
def test_norms_are_just_below_one_at_any_scale(shape: tuple[int, ...], scale: float, way: str) -> None:
    tensors = [gaussian(*shape, seed=seed) * scale for seed in range(3)]
    stack = WAYS[way](tensors, torch.float32)
    assert stack.shape == (3 * math.prod(shape[:-2]), *shape[-2:])
    wanted = torch.stack(tensors).double().view(stack.shape)
    wanted *= NORM / torch.linalg.matrix_norm(wanted, keepdim=True)
    torch.testing.assert_close(stack.double(), wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("exponent", [-120, -30, -1, 1, 30, 110])
def test_powers_of_two_change_no_bit(exponent: int) -> None:
    matrices = [gaussian(7, 5, seed=seed) for seed in range(2)]
    scaled = [matrix * 2.0**exponent for matrix in matrices]
    assert torch.equal(unit_stack(scaled, torch.bfloat16), unit_stack(matrices, torch.bfloat16))


def test_scales_of_one_stack_may_differ() -> None:
    matrices = [gaussian(4, 6), 1e-30 * gaussian(4, 6, seed=1), torch.zeros(4, 6), 1e30 * gaussian(4, 6, seed=2)]
    stack = unit_stack(matrices, torch.float32)
    norms = torch.linalg.matrix_norm(stack)
    torch.testing.assert_close(norms, torch.tensor([NORM, NORM, 0.0, NORM]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_in_its_own_matrix(bad: float, way: str) -> None:
    matrices = [gaussian(4, 6, seed=seed) for seed in range(3)]
    matrices[1][2, 3] = bad
    stack = WAYS[way](matrices, torch.float32)
    assert stack[1].isnan().any()
    torch.testing.assert_close(torch.linalg.matrix_norm(stack[[0, 2]]), torch.full((2,), NORM))


@pytest.mark.parametrize("way", WAYS)
def test_float32_is_rounded_once(way: str) -> None:
    matrix = gaussian(40, 50)
    exact = matrix.double() / (SAFETY_FACTOR * torch.linalg.matrix_norm(matrix.double()))
    nearest = exact.to(torch.bfloat16)
    is_nearest = WAYS[way]([matrix], torch.bfloat16)[0] == nearest
    # The float32 quotient before it may fall on the other side of a tie.
    assert is_nearest.float().mean() > 0.999


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("dtype", "scale"), [(torch.bfloat16, 1e30), (torch.bfloat16, 1e-30), (torch.float16, 1e4), (torch.float16, 1e-6)]
)
def test_low_precision_is_divided_in_float32(dtype: torch.dtype, scale: float, way: str) -> None:
    matrix = (gaussian(40, 50, dtype=torch.float64) * scale).to(dtype)
    wanted = matrix.double() / (SAFETY_FACTOR * torch.linalg.matrix_norm(matrix.double()))
    torch.testing.assert_close(WAYS[way]([matrix], torch.float32)[0].double(), wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_arguments_are_not_written_to_nor_shared(dtype: torch.dtype, way: str) -> None:
    tensors = [gaussian(3, 4, 5, seed=seed, dtype=dtype) for seed in range(2)]
    before = [tensor.clone() for tensor in tensors]
    WAYS[way](tensors, dtype).zero_()
    for tensor, copy in zip(tensors, before, strict=True):
        assert torch.equal(tensor, copy)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 3, 3), (2, 0, 3)])
def test_empty_matrices(shape: tuple[int, ...]) -> None:
    stack = unit_stack([torch.empty(shape), torch.empty(shape)], torch.float32)
    assert stack.shape == (2 * math.prod(shape[:-2]), *shape[-2:])


def test_views_of_any_strides() -> None:
    matrix = gaussian(6, 8)
    views = [matrix.mT, matrix.mT.contiguous()]
    stack = unit_stack(views, torch.float32)
    torch.testing.assert_close(stack[0], stack[1])
