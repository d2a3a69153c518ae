"""Spectral norms by simultaneous iteration, against float64 SVD, cold and warm."""

import pytest
import torch
from torch import Tensor

from steadydecay.tensors import spectral_norm
from steadydecay.tensors.spectral_norm import COLD_ITERATIONS, WARM_ITERATIONS

pytestmark = pytest.mark.usefixtures("one_cpu_thread")


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def with_spectrum(values: Tensor, seed: int = 0) -> Tensor:
    left, right = (torch.linalg.qr(gaussian(len(values), len(values), seed=seed + i))[0] for i in (0, 1))
    return left * values @ right


def one_above(ratio: float, size: int) -> Tensor:
    return with_spectrum(torch.cat([torch.tensor([ratio]), torch.ones(size - 1)]))


def iterated(matrices: Tensor, basis: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Spectral norms after so many products, and the basis to go on with."""
    image = basis
    for _ in range(times):
        image = spectral_norm.image(matrices, basis)
        basis = spectral_norm.next_basis(image, basis)
    return spectral_norm.spectral_norms(spectral_norm.image_gram(image)), basis


def cold(matrices: Tensor) -> tuple[Tensor, Tensor]:
    stacked, rows, columns = matrices.shape
    return iterated(matrices, spectral_norm.starting_basis(stacked, rows, columns, matrices.device), COLD_ITERATIONS)


def errors(estimates: Tensor, matrices: Tensor) -> Tensor:
    return 1 - estimates / torch.linalg.svdvals(matrices.double()).amax(dim=-1)


@pytest.mark.parametrize(
    "matrix",
    [
        gaussian(128, 128),
        gaussian(768, 192),
        gaussian(192, 768),
        gaussian(20, 500),
        gaussian(500, 20),
        gaussian(1, 300),
        gaussian(300, 1),
        gaussian(200, 5) @ gaussian(5, 300),
        with_spectrum(torch.ones(64)),
        with_spectrum(torch.linspace(1, 0, 300)),
        with_spectrum(0.99 ** torch.arange(300.0)),
        one_above(1.005, 500),
        one_above(1.1, 500),
        torch.eye(40) * 1e-6,
        gaussian(50, 50) * 1e4,
    ],
    ids=lambda matrix: f"{tuple(matrix.shape)}",
)
def test_the_first_estimate_is_right_to_one_percent_and_never_too_large(matrix: Tensor) -> None:
    matrices = matrix.unsqueeze(0)
    error = errors(cold(matrices)[0], matrices)
    assert -1e-5 < error.item() < 0.01


def test_a_changing_matrix_is_followed_with_the_products_of_one_report() -> None:
    """Ten percent of all entries change from report to report, more than a GPT's do."""
    matrices = gaussian(3, 200, 120)
    _, basis = cold(matrices)
    for report in range(30):
        matrices = 0.995 * matrices + 0.1 * gaussian(3, 200, 120, seed=report + 1)
        estimates, basis = iterated(matrices, basis, WARM_ITERATIONS)
        assert errors(estimates, matrices).max() < 0.01


def test_a_batch_is_each_of_its_matrices() -> None:
    matrices = torch.stack([gaussian(30, 20), torch.zeros(30, 20), gaussian(30, 20, seed=1) * 1e-3])
    together = cold(matrices)[0]
    apart = [cold(matrix.unsqueeze(0))[0].item() for matrix in matrices]
    assert together.tolist() == pytest.approx(apart, rel=1e-4)
    assert together[1] == 0


def test_rows_add_up() -> None:
    matrices = gaussian(1, 30, 20)
    basis = spectral_norm.starting_basis(1, 30, 20, matrices.device)
    parts = [spectral_norm.image(matrices[:, rows], basis) for rows in (slice(0, 7), slice(7, 7), slice(7, 30))]
    torch.testing.assert_close(sum(parts), spectral_norm.image(matrices, basis))


def test_a_matrix_that_grows_from_zero_keeps_its_vectors_meanwhile() -> None:
    basis = spectral_norm.starting_basis(1, 40, 40, torch.device("cpu"))
    assert torch.allclose(
        spectral_norm.next_basis(spectral_norm.image(torch.zeros(1, 40, 40), basis), basis), basis, atol=1e-5
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_matrix_that_is_not_finite_has_no_norm_and_gets_one_again(value: float) -> None:
    matrices = gaussian(2, 40, 40)
    broken = matrices.clone()
    broken[0, 3, 3] = value
    basis = cold(matrices)[1]
    norms, basis = iterated(broken, basis, WARM_ITERATIONS)
    assert norms[0].isnan() and errors(norms[1], matrices[1]) < 0.01
    assert basis.isfinite().all()
    assert errors(iterated(matrices, basis, WARM_ITERATIONS)[0], matrices).max() < 0.01


def test_the_start_is_the_same_in_every_run_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first = spectral_norm.starting_basis(2, 50, 60, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(5)
    assert torch.equal(spectral_norm.starting_basis(2, 50, 60, torch.device("cpu")), first)
    torch.testing.assert_close(first.mT @ first, torch.eye(32).expand(2, 32, 32), atol=1e-5, rtol=0)
