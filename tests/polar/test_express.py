import pytest
import torch
from torch import Tensor

from steadydecay.polar import coefficients, exact_polar, polar_express

# arXiv 2505.16932, Appendix A; the paper divides all but the last by the safety factor.
PAPER_COEFFICIENTS = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
]
PAPER_LAST = (1.875, -1.25, 0.375)
# What `steps` of them do to singular values from 0.01 to 1, by evaluation of the composed polynomial.
BOUND_AFTER_STEPS = {5: 0.13, 6: 3e-3, 7: 5e-6, 8: 1e-14, 10: 1e-14}

SHAPES = [(6, 6), (5, 9), (9, 5), (1, 7), (7, 1), (1, 1), (3, 4, 4), (2, 3, 5, 8), (2, 8, 3)]


def gaussian(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def well_conditioned(shape: tuple[int, ...], smallest: float = 0.2) -> Tensor:
    """Random singular vectors, singular values spread from `smallest` to 1."""
    u, _, vh = torch.linalg.svd(gaussian(shape), full_matrices=False)
    return u @ torch.diag(torch.linspace(smallest, 1, min(shape[-2:]), dtype=torch.float64)) @ vh


def composed(x: Tensor, steps: int) -> Tensor:
    for a, b, c in coefficients(steps):
        x = a * x + b * x**3 + c * x**5
    return x


def test_coefficients_are_the_published_ones_with_their_safety_factor() -> None:
    safe = [(a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in PAPER_COEFFICIENTS]
    published = torch.tensor([*safe, PAPER_LAST, PAPER_LAST, PAPER_LAST], dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(coefficients(10), dtype=torch.float64), published, rtol=1e-15, atol=0)


@pytest.mark.parametrize("steps", [1, 5, 7, 8, 20])
def test_coefficients_of_fewer_steps_are_a_prefix(steps: int) -> None:
    assert coefficients(steps) == coefficients(20)[:steps]


def test_safety_factor_shrinks_the_argument_of_each_polynomial() -> None:
    x = torch.linspace(0, 1, 101, dtype=torch.float64)
    a, b, c = PAPER_COEFFICIENTS[0]
    safe_a, safe_b, safe_c = coefficients(1)[0]
    shrunk = x / 1.01
    torch.testing.assert_close(safe_a * x + safe_b * x**3 + safe_c * x**5, a * shrunk + b * shrunk**3 + c * shrunk**5)


@pytest.mark.parametrize(("steps", "bound"), BOUND_AFTER_STEPS.items())
def test_composition_brings_singular_values_to_one(steps: int, bound: float) -> None:
    singular_values = torch.logspace(-2, 0, 20_001, dtype=torch.float64) / 1.01
    assert float((composed(singular_values, steps) - 1).abs().max()) < bound


@pytest.mark.parametrize("steps", range(1, 12))
def test_composition_never_leaves_the_interval_of_convergence(steps: int) -> None:
    values = composed(torch.linspace(0, 1, 20_001, dtype=torch.float64), steps)
    assert float(values.min()) >= 0
    assert float(values.max()) < 2


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_float64_steps_are_the_polar_factor(shape: tuple[int, ...]) -> None:
    matrices = well_conditioned(shape)
    torch.testing.assert_close(polar_express(matrices, steps=10), exact_polar(matrices), rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_five_steps_stay_within_the_bound_of_the_polynomial(shape: tuple[int, ...]) -> None:
    singular_values = torch.linalg.svdvals(polar_express(well_conditioned(shape)))
    assert float((singular_values - 1).abs().max()) < BOUND_AFTER_STEPS[5]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 3, 5, 7])
def test_singular_vectors_stay_and_values_follow_the_polynomial(shape: tuple[int, ...], steps: int) -> None:
    matrices = gaussian(shape)
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    start = s / s.norm(dim=-1, keepdim=True) / 1.01
    wanted = (u * composed(start, steps).unsqueeze(-2)) @ vh
    torch.testing.assert_close(polar_express(matrices, steps), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_float32_is_the_float64_iteration(shape: tuple[int, ...]) -> None:
    matrices = well_conditioned(shape).float()
    result = polar_express(matrices)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), polar_express(matrices.double()), rtol=0, atol=2e-5)


# A rounded singular value takes another path through the polynomials, but to the same interval: 0.13 around 1 and what
# bfloat16 adds, most where few singular values share its 8 bits (0.23 at worst over 100 seeds of 9×5).
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 0.15), (torch.bfloat16, 0.25)])
@pytest.mark.parametrize("shape", SHAPES)
def test_low_precision_is_as_near_the_polar_factor(dtype: torch.dtype, bound: float, shape: tuple[int, ...]) -> None:
    matrices = well_conditioned(shape).to(dtype)
    result = polar_express(matrices)
    assert result.dtype == dtype
    assert float(torch.linalg.matrix_norm(result.double() - exact_polar(matrices), 2).max()) < bound


@pytest.mark.parametrize("shape", [(64, 96), (96, 96), (96, 64)])
def test_bfloat16_of_a_real_layer_costs_little(shape: tuple[int, int]) -> None:
    matrix = well_conditioned(shape).bfloat16()
    error = polar_express(matrix).double() - exact_polar(matrix)
    assert float(torch.linalg.matrix_norm(error, 2)) < 0.15


def test_compute_dtype_sets_the_products_and_not_the_result() -> None:
    matrices = well_conditioned((8, 12)).float()
    result = polar_express(matrices, compute_dtype=torch.bfloat16)
    assert result.dtype == torch.float32
    assert torch.equal(result, result.bfloat16().float())
    assert not torch.equal(result, polar_express(matrices))
    assert float(torch.linalg.matrix_norm(result - exact_polar(matrices), 2)) < 0.25


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_powers_of_two_change_no_bit(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    matrices = gaussian(shape).to(dtype)
    for scale in (2.0**-100, 2.0**100):
        assert torch.equal(polar_express(matrices * scale), polar_express(matrices))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter(scale: float) -> None:
    matrices = well_conditioned((6, 9)).float()
    torch.testing.assert_close(polar_express(matrices * scale), polar_express(matrices), rtol=0, atol=1e-5)


def test_smallest_number_of_float32_is_scaled_up_too() -> None:
    torch.testing.assert_close(polar_express(torch.eye(3) * 2.0**-149), polar_express(torch.eye(3)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_zero_gives_zero(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    assert not polar_express(torch.zeros(shape, dtype=dtype)).any()


def test_zero_matrix_in_a_batch_stays_alone() -> None:
    matrices = well_conditioned((3, 4, 6))
    matrices[1] = 0
    result = polar_express(matrices, steps=10)
    torch.testing.assert_close(result, exact_polar(matrices), rtol=0, atol=1e-13)
    assert not result[1].any()


@pytest.mark.parametrize("shape", [(1, 50), (50, 1)])
def test_vector_becomes_a_unit_vector(shape: tuple[int, int]) -> None:
    vector = gaussian(shape)
    torch.testing.assert_close(polar_express(vector, steps=10), vector / vector.norm(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("shape", [(4, 5, 5), (2, 3, 4, 7), (3, 7, 4)])
def test_batch_is_a_loop(shape: tuple[int, ...]) -> None:
    matrices = gaussian(shape)
    one_by_one = torch.stack([polar_express(matrix) for matrix in matrices.flatten(end_dim=-3)])
    torch.testing.assert_close(polar_express(matrices), one_by_one.view(shape), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 9), (2, 5, 9)])
def test_transpose_commutes(shape: tuple[int, ...]) -> None:
    matrices = gaussian(shape)
    torch.testing.assert_close(polar_express(matrices.mT), polar_express(matrices).mT, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0), (0, 3, 4), (2, 0, 3), (0, 800, 800), (2, 0, 800, 400)])
def test_empty_gives_empty(shape: tuple[int, ...]) -> None:
    assert polar_express(torch.empty(shape)).shape == shape
    assert exact_polar(torch.empty(shape)).shape == shape


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_argument_is_unchanged_and_not_shared(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    matrices = gaussian(shape).to(dtype)
    before = matrices.clone()
    polar_express(matrices).zero_()
    exact_polar(matrices).zero_()
    assert torch.equal(matrices, before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_gives_nan_in_its_own_matrix(bad: float) -> None:
    matrices = well_conditioned((2, 4, 4))
    clean = polar_express(matrices)
    matrices[0, 1, 2] = bad
    result = polar_express(matrices)
    assert result[0].isnan().all()
    torch.testing.assert_close(result[1], clean[1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("steps", [0, -1])
def test_steps_out_of_range_are_named(steps: int) -> None:
    with pytest.raises(ValueError, match=rf"^steps is {steps}; it must be 1 or more"):
        coefficients(steps)
    with pytest.raises(ValueError, match=rf"^steps is {steps}; it must be 1 or more"):
        polar_express(torch.eye(3), steps=steps)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_fewer_than_two_dimensions_are_named(shape: tuple[int, ...]) -> None:
    message = r"^matrices has shape \(.*\); it must be \(\.\.\., rows, columns\)$"
    with pytest.raises(ValueError, match=message):
        polar_express(torch.ones(shape))
    with pytest.raises(ValueError, match=message):
        exact_polar(torch.ones(shape))


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (2, 3, 5)])
def test_exact_polar_is_the_nearest_orthogonal_matrix(shape: tuple[int, ...]) -> None:
    matrices = gaussian(shape)
    polar = exact_polar(matrices)
    torch.testing.assert_close(torch.linalg.svdvals(polar), torch.ones((*shape[:-2], min(shape[-2:]))).double())
    # A = PH with H symmetric and positive: what makes an orthogonal P the polar factor.
    symmetric = polar.mT @ matrices
    torch.testing.assert_close(symmetric, symmetric.mT, rtol=0, atol=1e-13)
    assert float(torch.linalg.eigvalsh(symmetric).min()) > -1e-13


def test_exact_polar_of_a_rank_deficient_matrix_has_its_rank() -> None:
    rank_two = gaussian((6, 2)) @ gaussian((2, 5), seed=1)
    singular_values = torch.linalg.svdvals(exact_polar(rank_two))
    torch.testing.assert_close(singular_values, torch.tensor([1, 1, 0, 0, 0]).double(), rtol=0, atol=1e-13)


def test_exact_polar_of_zero_is_zero() -> None:
    assert not exact_polar(torch.zeros(3, 4)).any()
    beside_a_full_one = exact_polar(torch.stack([torch.zeros(3, 3), torch.eye(3)]))
    torch.testing.assert_close(beside_a_full_one, torch.stack([torch.zeros(3, 3), torch.eye(3)]).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_exact_polar_computes_in_float64(dtype: torch.dtype) -> None:
    assert exact_polar(torch.eye(2, dtype=dtype)).dtype == torch.float64
