"""The forms in float16 with the rounding of a GPU, held to the float64 iteration, and to what bfloat16 makes of it.

Which segments float16 allows, and why it is what CUDA should use, is measured here; nothing of this needs a GPU.
"""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from tensor_cores import TensorCores
from test_forms import SPECTRA, gaussian, gpt_gradients, matrices_of
from torch import Tensor

from steadydecay.polar import coefficients
from steadydecay.polar.forms import fused, gram, plain
from steadydecay.tensors.unit_vectors import unit_vectors

FLOAT16, BFLOAT16, FLOAT64 = torch.float16, torch.bfloat16, torch.float64
Form = Callable[..., Tensor]
FORMS: dict[str, Form] = {
    "plain": plain,
    "fused": fused,
    "gram (2, 2, 1)": partial(gram, segments=(2, 2, 1)),
    "gram (2, 3)": partial(gram, segments=(2, 3)),
}
SHAPES = [(128, 128), (128, 384), (512, 128), (256, 256)]
# Largest singular value, where the float64 iteration reaches 1.124, and largest relative distance from it.
BUDGETS = {
    "plain": (1.125, 0.2),
    "fused": (1.125, 0.15),
    "gram (2, 2, 1)": (1.13, 0.15),
    "gram (2, 3)": (1.17, 0.15),
}
# Of a few directions of weight and much noise below what either dtype holds: a GPT's gradients have such matrices.
GRADIENT_ERROR = 0.35


def iterated(form: str, matrices: Tensor, dtype: torch.dtype, steps: int = 5) -> Tensor:
    """Float64 result of a form in a dtype, the start rounded to it."""
    stack = matrices if matrices.ndim == 3 else matrices.unsqueeze(0)
    with TensorCores():
        x = (unit_vectors(stack, dim=(-2, -1)) / 1.01).to(dtype)
        return FORMS[form](x, coefficients(steps)).double().reshape(matrices.shape)


def largest_singular_value(x: Tensor) -> float:
    return float(torch.linalg.matrix_norm(x, 2).max())


def relative_error(x: Tensor, reference: Tensor) -> float:
    return float(torch.linalg.norm(x - reference) / torch.linalg.norm(reference))


def error_of(form: str, matrices: Tensor, dtype: torch.dtype) -> float:
    return relative_error(iterated(form, matrices, dtype), iterated("plain", matrices, FLOAT64))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spectrum", ["gaussian", *SPECTRA])
@pytest.mark.parametrize("form", FORMS)
def test_float16_forms_keep_their_budget(form: str, spectrum: str, shape: tuple[int, int]) -> None:
    largest, error = BUDGETS[form]
    matrices = matrices_of(spectrum, shape)
    result = iterated(form, matrices, FLOAT16)
    assert largest_singular_value(result) <= largest
    assert relative_error(result, iterated("plain", matrices, FLOAT64)) <= error


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6, 7, 10])
@pytest.mark.parametrize("form", ["fused", "gram (2, 2, 1)", "gram (2, 3)"])
def test_other_numbers_of_steps_stay_near_float64(form: str, steps: int) -> None:
    for spectrum in ("gaussian", "log to 1e-2", "power -1", "1 and 0.03", "quarter and 0.1"):
        matrices = matrices_of(spectrum, (128, 384))
        result, reference = iterated(form, matrices, FLOAT16, steps), iterated("plain", matrices, FLOAT64, steps)
        assert relative_error(result, reference) <= 0.05, spectrum
        assert largest_singular_value(result) <= 1.05 * largest_singular_value(reference), spectrum


def test_gradients_of_a_gpt_keep_the_budgets() -> None:
    for gradient in gpt_gradients():
        for form, (largest, _) in BUDGETS.items():
            assert largest_singular_value(iterated(form, gradient, FLOAT16)) <= largest
            assert error_of(form, gradient, FLOAT16) <= GRADIENT_ERROR


@pytest.mark.parametrize("form", ["plain", "fused"])
def test_float16_is_at_most_half_as_far_from_float64_as_bfloat16(form: str) -> None:
    for spectrum in ("gaussian", *SPECTRA):
        matrices = matrices_of(spectrum, (128, 384))
        assert error_of(form, matrices, FLOAT16) <= 0.5 * error_of(form, matrices, BFLOAT16), spectrum


@pytest.mark.parametrize("seed", range(896, 900))
@pytest.mark.parametrize("form", ["gram (2, 2, 1)", "gram (2, 3)"])
def test_no_bulk_of_equal_singular_values_diverges(form: str, seed: int) -> None:
    """Where it lands on the edge of a polynomial's interval, rounding does most."""
    u, s, vh = torch.linalg.svd(gaussian((64, 128), seed), full_matrices=False)
    first = torch.arange(len(s)) == 0
    bulks = [torch.where(first, 1.0, bulk).double() for bulk in torch.logspace(-2.2, -0.3, 40)]
    stack = torch.stack([(u * spectrum) @ vh for spectrum in bulks])
    assert largest_singular_value(iterated(form, stack, FLOAT16)) <= BUDGETS[form][0]


@pytest.mark.parametrize("segments", [(5,), (4, 1), (3, 2)])
def test_three_steps_on_the_first_gram_matrix_are_too_many(segments: tuple[int, ...]) -> None:
    """Its smallest eigenvalues carry the rounding of the largest, which three steps lift out of the interval."""
    u, s, vh = torch.linalg.svd(gaussian((128, 384), 897), full_matrices=False)
    first = torch.arange(len(s)) == 0
    stack = torch.stack([(u * torch.where(first, 1.0, b).double()) @ vh for b in torch.logspace(-2.2, -0.5, 24)])
    x = (unit_vectors(stack, dim=(-2, -1)) / 1.01).to(FLOAT16)
    with TensorCores():
        assert largest_singular_value(gram(x, coefficients(5), segments=segments).double().nan_to_num(1e4)) > 2


@pytest.mark.parametrize("tiny", [1e-4, 1e-5, 1e-6, 1e-7])
@pytest.mark.parametrize("form", ["fused", "gram (2, 3)"])
def test_entries_below_float16_cost_less_than_bfloat16s_rounding(form: str, tiny: float) -> None:
    """One entry of 1 beside noise that is subnormal in float16, and that bfloat16 holds to 8 bits.

    The noise has singular values of 2·tiny·√n. Five steps lift what is lost of them by less than a factor of 1000.
    """
    matrices = gaussian((256, 256)) * tiny
    matrices[0, 0] = 1
    result = iterated(form, matrices, FLOAT16)
    assert largest_singular_value(result) <= BUDGETS[form][0]
    assert error_of(form, matrices, FLOAT16) <= 0.5 * error_of(form, matrices, BFLOAT16)


@pytest.mark.parametrize("tiny", [1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("form", ["fused", "gram (2, 3)"])
def test_low_rank_over_tiny_noise_is_lost_later_in_float16(form: str, tiny: float) -> None:
    """Every entry carries the large directions, so that the noise is below half a unit of either dtype."""
    u, _, vh = torch.linalg.svd(gaussian((256, 256)), full_matrices=False)
    matrices = (u * torch.where(torch.arange(256) < 4, 1.0, tiny).double()) @ vh
    assert largest_singular_value(iterated(form, matrices, FLOAT16)) <= BUDGETS[form][0]
    assert error_of(form, matrices, FLOAT16) <= 0.25 * error_of(form, matrices, BFLOAT16)


def test_products_of_tensor_cores_are_rounded_once() -> None:
    x = torch.full((1, 1, 4096), 1.0 + 2.0**-10, dtype=FLOAT16)
    with TensorCores():
        product = torch.baddbmm(torch.ones((1, 1, 1), dtype=FLOAT16), x, x.mT, beta=-1.0, alpha=2.0**-12)
        out = torch.empty((1, 1, 1), dtype=FLOAT16)
        assert torch.bmm(x, x.mT / 64, out=out) is out
    # 2·2⁻¹⁰ + 2⁻²⁰: a product that was rounded before the sum, or a sum in float16, has no such digits.
    assert float(product) == float(torch.tensor((1 + 2.0**-10) ** 2 - 1).half())
    assert float(out) == float(torch.tensor(64 * (1 + 2.0**-10) ** 2).half())
