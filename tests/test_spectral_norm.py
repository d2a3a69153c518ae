import pytest
import torch
from torch import Tensor

from steadydecay.spectral_norm import power_iteration

SHAPES = [(128, 256), (256, 128), (512, 512), (64, 64), (300, 200), (8, 8), (1, 50), (50, 1), (1, 1), (2, 100)]


def gaussian(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def largest_singular_value(matrices: Tensor) -> Tensor:
    return torch.linalg.svdvals(matrices.double()).amax(dim=-1)


def relative_error(estimate: Tensor, matrices: Tensor) -> float:
    return float((estimate.double() / largest_singular_value(matrices) - 1).abs().max())


@pytest.mark.parametrize("shape", SHAPES)
def test_first_figure_is_right_to_a_percent(shape: tuple[int, int]) -> None:
    matrices = gaussian((1 if 512 in shape else 5, *shape))
    assert relative_error(power_iteration(matrices)[0], matrices) < 0.01


def test_one_cold_iteration_would_not_be() -> None:
    matrix = gaussian((128, 256))
    assert relative_error(power_iteration(matrix, iterations=1)[0], matrix) > 0.1


@pytest.mark.parametrize("shape", [(64, 96), (40, 40), (3, 30, 20)])
def test_estimate_comes_from_below_and_converges(shape: tuple[int, ...]) -> None:
    matrices = gaussian(shape).double()
    truth = largest_singular_value(matrices)
    estimates = torch.stack([power_iteration(matrices, iterations=count)[0] for count in (1, 3, 10, 50, 2000)])
    assert (estimates <= truth * (1 + 1e-14)).all()
    assert (estimates.diff(dim=0) >= 0).all()
    torch.testing.assert_close(estimates[-1], truth, rtol=1e-8, atol=0)


def test_iterations_in_two_calls_are_the_iterations_of_one() -> None:
    matrix = gaussian((30, 20)).double()
    _, vectors = power_iteration(matrix, iterations=3)
    resumed, _ = power_iteration(matrix, vectors, iterations=4)
    torch.testing.assert_close(resumed, power_iteration(matrix, iterations=7)[0], rtol=1e-14, atol=0)


def test_stored_vectors_get_one_iteration_by_default() -> None:
    matrix = gaussian((30, 20))
    _, vectors = power_iteration(matrix, iterations=3)
    assert torch.equal(power_iteration(matrix, vectors)[1], power_iteration(matrix, vectors, iterations=1)[1])


def test_one_iteration_a_step_follows_a_weight_in_training() -> None:
    weight = gaussian((60, 90))
    norm, vectors = power_iteration(weight)
    for step in range(1, 301):
        weight = 0.998 * weight + 0.03 * gaussian((60, 90), seed=step)
        norm, vectors = power_iteration(weight, vectors)
        assert relative_error(norm, weight) < 0.01


@pytest.mark.parametrize("shape", [(40, 30), (3, 20, 50)])
def test_vectors_are_the_right_singular_vectors(shape: tuple[int, ...]) -> None:
    matrices = gaussian(shape).double()
    norm, vectors = power_iteration(matrices, iterations=3000)
    assert vectors.shape == (*shape[:-2], shape[-1])
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones_like(norm), rtol=1e-14, atol=0)
    right = torch.linalg.svd(matrices).Vh[..., 0, :]
    torch.testing.assert_close((vectors * right).sum(dim=-1).abs(), torch.ones_like(norm), rtol=1e-6, atol=0)


def test_zero_matrix_has_norm_zero_and_recovers() -> None:
    norm, vectors = power_iteration(torch.zeros(20, 30))
    assert norm == 0
    assert float(vectors.norm()) == pytest.approx(1, rel=1e-6)
    matrix = gaussian((20, 30))
    assert relative_error(power_iteration(matrix, vectors, iterations=300)[0], matrix) < 0.01


def test_matrix_that_vanishes_for_a_step_keeps_its_vectors() -> None:
    matrices = gaussian((2, 20, 30))
    _, vectors = power_iteration(matrices)
    vanished = matrices.clone()
    vanished[0] = 0
    norm, kept = power_iteration(vanished, vectors)
    assert norm[0] == 0
    assert torch.equal(kept[0], vectors[0])
    assert relative_error(power_iteration(matrices, kept)[0], matrices) < 0.01


@pytest.mark.parametrize("shape", [(4, 12, 20), (2, 3, 20, 12)])
def test_batch_is_a_loop(shape: tuple[int, ...]) -> None:
    matrices = gaussian(shape).double()
    norms, vectors = power_iteration(matrices, iterations=20)
    one_by_one = [power_iteration(matrix, iterations=20) for matrix in matrices.flatten(end_dim=-3)]
    torch.testing.assert_close(norms.flatten(), torch.stack([norm for norm, _ in one_by_one]), rtol=1e-12, atol=0)
    loop_vectors = torch.stack([vector for _, vector in one_by_one])
    torch.testing.assert_close(vectors.flatten(end_dim=-2), loop_vectors, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_norm_is_homogeneous_at_any_scale(scale: float) -> None:
    matrix = gaussian((20, 30))
    assert relative_error(power_iteration(matrix * scale)[0], matrix * scale) < 0.01


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    matrix = gaussian((20, 30)).to(dtype)
    norm, vectors = power_iteration(matrix)
    assert (norm.dtype, vectors.dtype) == (torch.float32, torch.float32)
    assert relative_error(norm, matrix) < 0.01
    assert relative_error(power_iteration(matrix, vectors.to(dtype))[0], matrix) < 0.01


def test_float64_stays_float64() -> None:
    norm, vectors = power_iteration(gaussian((20, 30)).double())
    assert (norm.dtype, vectors.dtype) == (torch.float64, torch.float64)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_arguments_are_unchanged_and_not_shared(dtype: torch.dtype) -> None:
    matrices = gaussian((3, 20, 30)).to(dtype)
    matrices[0] = 0
    _, vectors = power_iteration(matrices)
    matrices_before, vectors_before = matrices.clone(), vectors.clone()
    norm, next_vectors = power_iteration(matrices, vectors)
    norm.zero_()
    next_vectors.zero_()
    assert torch.equal(matrices, matrices_before)
    assert torch.equal(vectors, vectors_before)


def test_first_figure_does_not_depend_on_global_randomness() -> None:
    matrix = gaussian((20, 30))
    before = torch.get_rng_state()
    first, _ = power_iteration(matrix, iterations=2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(5)
    assert torch.equal(power_iteration(matrix, iterations=2)[0], first)


def test_non_contiguous_matrices() -> None:
    matrix = gaussian((20, 30))
    assert relative_error(power_iteration(matrix.mT)[0], matrix) < 0.01


@pytest.mark.parametrize("iterations", [0, -3])
def test_iterations_out_of_range_are_named(iterations: int) -> None:
    with pytest.raises(ValueError, match=rf"^iterations is {iterations}; legal is 1 or more$"):
        power_iteration(torch.eye(3), iterations=iterations)
