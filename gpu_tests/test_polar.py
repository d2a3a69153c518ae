"""Polar Express on the device beside the plain iteration in float64."""

import pytest
import torch
from exact_stacks import gaussian
from torch import Tensor

from steadydecay.polar import exact_polar, polar_express

FLOAT16, BFLOAT16, FLOAT32 = torch.float16, torch.bfloat16, torch.float32
SHAPES = {
    "cuda": [
        (768, 768),
        (48, 768, 768),
        (12, 768, 3072),
        (12, 3072, 768),
        (2, 2048, 2048),
        (2, 2048, 8192),
        (5, 70, 33),
    ],
    "cpu": [(64, 64), (3, 64, 160), (3, 160, 64), (5, 70, 33)],
}
# Log-spaced and low-rank spectra have directions of no weight, where half precision differs most.
LARGEST_ERROR = {"gaussian": 0.1, "log to 1e-2": 0.1, "4 and noise": 1.0}


def matrices_of(spectrum: str, shape: tuple[int, ...]) -> Tensor:
    x = gaussian(shape, seed=0)
    if spectrum == "gaussian":
        return x
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    k = torch.arange(s.shape[-1], dtype=torch.float64)
    wanted = 10 ** (-2 * k / max(len(k) - 1, 1)) if spectrum == "log to 1e-2" else torch.where(k < 4, 1.0, 1e-3)
    return (u * wanted) @ vh


def relative_error(x: Tensor, reference: Tensor) -> float:
    return float((x.double() - reference).norm() / reference.norm())


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32])
@pytest.mark.parametrize("spectrum", LARGEST_ERROR)
def test_polar_express_is_that_of_float64(spectrum: str, dtype: torch.dtype, device: str) -> None:
    for shape in SHAPES[device]:
        matrices = matrices_of(spectrum, shape).to(dtype)
        result = polar_express(matrices)
        assert result.dtype == dtype
        assert result.shape == shape
        assert float(torch.linalg.matrix_norm(result.float(), 2).max()) < 1.2, shape
        reference = polar_express(matrices.double(), compute_dtype=torch.float64)
        assert relative_error(result, reference) < LARGEST_ERROR[spectrum], shape


def test_polar_express_comes_near_the_polar_factor(device: str) -> None:
    for shape in SHAPES[device]:
        matrices = gaussian(shape, seed=0).float()
        assert relative_error(polar_express(matrices), exact_polar(matrices)) < 0.25, shape


def test_powers_of_two_change_no_bit_and_zero_stays_zero(device: str) -> None:
    for shape in SHAPES[device]:
        matrices = gaussian(shape, seed=0).float()
        assert torch.equal(polar_express(matrices * 2.0**-100), polar_express(matrices)), shape
        assert torch.equal(polar_express(matrices), polar_express(matrices)), shape
        assert not polar_express(torch.zeros(shape)).any()


@pytest.mark.parametrize("shape", [(3, 96, 96), (3, 64, 2048), (3, 2048, 64)])
def test_what_is_not_finite_stays_in_its_own_matrix(shape: tuple[int, ...]) -> None:
    matrices = gaussian(shape, seed=0).float()
    clean = polar_express(matrices)
    matrices[1, -1, -1] = float("nan")
    result = polar_express(matrices)
    assert result[1].isnan().any()
    assert torch.equal(result[0], clean[0])
    assert torch.equal(result[2], clean[2])


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 300, 400), (2, 0, 3), (1, 7), (7, 1)])
def test_empty_and_thin_matrices_work(shape: tuple[int, ...]) -> None:
    result = polar_express(torch.ones(shape))
    assert result.shape == shape
    assert not result.isnan().any()
