"""Norms against numpy in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from steadydecay.inspection import weight_measures
from steadydecay.inspection.weight_measures import matrices_in, measures_of_weight
from steadydecay.norms import NormSpec


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sigma(matrix: Any) -> float:
    return float(np.linalg.svd(np.asarray(matrix, dtype=np.float64), compute_uv=False)[0])


SHAPES = [(1, 1), (1, 40), (40, 1), (30, 50), (50, 30), (64, 64), (300, 700), (2000, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_norms_are_those_of_numpy(shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight = gaussian(*shape).to(dtype)
    exact = weight.double().numpy()
    measured = measures_of_weight(weight, "spectral")
    assert measured.norm == pytest.approx(np.linalg.norm(exact), rel=1e-12)
    assert measured.rms == pytest.approx(np.sqrt(np.mean(exact**2)), rel=1e-12)
    assert measured.spectral == pytest.approx([sigma(exact)], rel=0.01)
    assert measured.non_finite == 0


def test_a_nearly_flat_spectrum_is_right_to_a_percent() -> None:
    left = torch.linalg.qr(gaussian(400, 400)).Q
    right = torch.linalg.qr(gaussian(400, 400, seed=1)).Q
    weight = left @ torch.linspace(0.9, 1.0, 400, dtype=torch.float64).diag() @ right
    assert measures_of_weight(weight.float(), "spectral").spectral[0] == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_norms_scale_with_the_weight(scale: float) -> None:
    weight = gaussian(20, 30)
    measured, scaled = measures_of_weight(weight, "spectral"), measures_of_weight(weight * scale, "spectral")
    assert scaled.norm == pytest.approx(measured.norm * scale, rel=1e-9)
    assert scaled.rms == pytest.approx(measured.rms * scale, rel=1e-9)
    assert scaled.spectral == pytest.approx([measured.spectral[0] * scale], rel=1e-5)


def test_pieces_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = gaussian(37, 23).float()
    whole = measures_of_weight(weight, "spectral")
    monkeypatch.setattr(weight_measures, "PIECE", 50)
    pieces = measures_of_weight(weight, "spectral")
    assert (pieces.rms, pieces.norm) == pytest.approx((whole.rms, whole.norm), rel=1e-12)
    assert pieces.spectral == pytest.approx(whole.spectral, rel=1e-5)
    assert measures_of_weight(weight.T, "spectral").spectral == pytest.approx(whole.spectral, rel=1e-5)


def test_each_matrix_of_a_stack_and_of_a_fused_weight_has_its_own_norm() -> None:
    stack = gaussian(3, 16, 16) * torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    expected = [sigma(matrix) for matrix in stack]
    assert measures_of_weight(stack, "spectral").spectral == pytest.approx(expected, rel=0.01)
    fused: NormSpec = {"name": "spectral", "split_sizes": (16, 16, 16)}
    assert measures_of_weight(stack.flatten(0, 1), fused).spectral == pytest.approx(expected, rel=0.01)
    transposed: NormSpec = {"name": "spectral", "split_sizes": (16, 16, 16), "transposed": True}
    assert measures_of_weight(stack.flatten(0, 1).T, transposed).spectral == pytest.approx(expected, rel=0.01)


def test_matrices_of_several_stacked_fused_and_transposed_weights_come_in_order() -> None:
    weight = gaussian(2, 5, 6)
    found = list(matrices_in(weight, {"name": "spectral", "split_sizes": (2, 4), "transposed": True}))
    expected = [weight[0].T[:2], weight[0].T[2:], weight[1].T[:2], weight[1].T[2:]]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_convolution_kernel_is_one_matrix() -> None:
    kernel = gaussian(8, 3, 5, 5)
    assert measures_of_weight(kernel, "spectral_conv").spectral == pytest.approx(
        [sigma(kernel.reshape(8, 75))], rel=0.01
    )


@pytest.mark.parametrize("shape", [(), (1,), (7,)])
def test_scalars_and_vectors_have_no_spectral_norm(shape: tuple[int, ...]) -> None:
    measured = measures_of_weight(torch.full(shape, -2.0), None)
    assert measured.rms == 2 and measured.spectral == ()
    assert measured.norm == pytest.approx(2 * math.sqrt(math.prod(shape)))


def test_a_zero_weight_has_norm_zero() -> None:
    assert measures_of_weight(torch.zeros(3, 4), "spectral") == (0.0, 0.0, (0.0,), 0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_counted(value: float) -> None:
    weight = torch.ones(4, 4, dtype=torch.bfloat16)
    weight[1, 2] = weight[3, 3] = value
    measured = measures_of_weight(weight, "spectral")
    assert measured.non_finite == 2
    assert all(map(math.isnan, (measured.rms, measured.norm, *measured.spectral)))
    assert measures_of_weight(weight[0], None).non_finite == 0


def test_the_weight_is_not_written_to() -> None:
    weight = gaussian(6, 5)
    before = weight.clone()
    measures_of_weight(weight, "spectral")
    assert torch.equal(weight, before)


def test_a_stack_of_many_small_matrices_is_measured_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = torch.linalg.eigvalsh
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda one: calls.append(len(one)) or real(one))
    stack = gaussian(30_000, 3, 2).float()
    found = measures_of_weight(stack, "spectral").spectral
    exact = torch.linalg.svdvals(stack.double())[:, 0]
    assert len(found) == 30_000 and torch.allclose(torch.tensor(found, dtype=torch.float64), exact, rtol=0.01)
    assert sum(calls) == 30_000 and len(calls) < 10


@pytest.mark.parametrize("split_sizes", [(3, 3, 2), (2, 6), (8,)])
def test_matrices_of_several_shapes_keep_their_order(split_sizes: tuple[int, ...]) -> None:
    stack = gaussian(5, 8, 4)
    spec = {"name": "spectral", "split_sizes": split_sizes}
    expected = [sigma(one) for matrix in stack for one in matrix.split(list(split_sizes))]
    assert measures_of_weight(stack, spec).spectral == pytest.approx(expected, rel=0.01)
