"""What `polar_express` chooses, and that nothing about the result but its rounding depends on it."""

import runpy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from steadydecay.polar import choice, exact_polar, polar_express, polar_express_of_each
from steadydecay.polar.choice import chosen_dtype, chosen_form

FLOAT16, BFLOAT16, FLOAT32, FLOAT64 = torch.float16, torch.bfloat16, torch.float32, torch.float64


def gaussian(shape: tuple[int, ...], dtype: torch.dtype = FLOAT32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


# shape, dtype of the matrices, steps; dtype of the products where bfloat16 is fast, and where it is slow
DTYPE_CASES = [
    ((128, 128), FLOAT32, 5, BFLOAT16, FLOAT32),
    ((2, 512, 128), FLOAT32, 5, BFLOAT16, FLOAT32),
    ((128, 128), BFLOAT16, 5, BFLOAT16, FLOAT32),
    ((128, 128), FLOAT32, 6, FLOAT32, FLOAT32),
    ((127, 512), FLOAT32, 5, FLOAT32, FLOAT32),
    ((512, 127), FLOAT32, 5, FLOAT32, FLOAT32),
    ((1, 5), BFLOAT16, 5, FLOAT32, FLOAT32),
    ((0, 512, 128), FLOAT32, 5, BFLOAT16, FLOAT32),
    ((256, 256), FLOAT16, 5, FLOAT32, FLOAT32),
    ((256, 256), FLOAT64, 5, FLOAT64, FLOAT64),
]


@pytest.mark.parametrize(("shape", "dtype", "steps", "fast", "slow"), DTYPE_CASES)
def test_dtype_of_the_products_follows_the_cpu(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    steps: int,
    fast: torch.dtype,
    slow: torch.dtype,
    has_fast_bfloat16: bool,
) -> None:
    assert chosen_dtype(torch.empty(shape, dtype=dtype), steps) == (fast if has_fast_bfloat16 else slow)


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64])
def test_other_devices_keep_the_dtype_and_the_plain_form(dtype: torch.dtype, has_fast_bfloat16: bool) -> None:
    matrices = torch.empty((256, 1024), dtype=dtype, device="meta")
    assert chosen_dtype(matrices, 5) == dtype
    assert chosen_form(matrices, dtype) == "plain"


CUDA_CASES = [
    ((256, 256), FLOAT32, FLOAT16, "fused"),
    ((256, 511), FLOAT32, FLOAT16, "fused"),
    ((256, 512), FLOAT32, FLOAT16, "gram_float16"),
    ((512, 128), BFLOAT16, FLOAT16, "gram_float16"),
    ((256, 1024), FLOAT64, FLOAT64, "plain"),
]


@pytest.mark.parametrize(("shape", "dtype", "of_products", "form"), CUDA_CASES)
def test_cuda_takes_float16(shape: tuple[int, ...], dtype: torch.dtype, of_products: torch.dtype, form: str) -> None:
    with FakeTensorMode():
        matrices = torch.empty(shape, dtype=dtype, device="cuda:0")
        assert chosen_dtype(matrices, 5) == of_products
        assert chosen_form(matrices, of_products) == form
        result = polar_express_of_each([matrices, matrices])
    assert (result.shape, result.dtype, result.device.type) == ((2, *shape), of_products, "cuda")


FORM_CASES = [
    ((128, 255), FLOAT32, "fused"),
    ((128, 256), FLOAT32, "gram_float32"),
    ((256, 128), FLOAT32, "gram_float32"),
    ((31, 512), FLOAT32, "fused"),
    ((512, 1), FLOAT32, "fused"),
    ((128, 383), BFLOAT16, "fused"),
    ((128, 384), BFLOAT16, "gram_bfloat16"),
    ((5, 384, 128), BFLOAT16, "gram_bfloat16"),
    ((128, 512), FLOAT16, "gram_float16"),
    ((128, 255), FLOAT16, "fused"),
    ((128, 512), FLOAT64, "plain"),
    ((0, 4), FLOAT32, "fused"),
]


@pytest.mark.parametrize(("shape", "dtype", "form"), FORM_CASES)
def test_form_follows_the_shape(shape: tuple[int, ...], dtype: torch.dtype, form: str) -> None:
    assert chosen_form(torch.empty(shape), dtype) == form


@pytest.mark.parametrize("has_avx512_bf16", [True, False])
@pytest.mark.parametrize("has_amx", [True, False])
def test_fast_bfloat16_needs_instructions_for_it(
    has_avx512_bf16: bool, has_amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    assert runpy.run_path(str(choice.__file__))["HAS_FAST_BFLOAT16"] == (has_avx512_bf16 or has_amx)


SHAPES = [(128, 128), (128, 512), (2, 3, 384, 128), (160, 300), (40, 130), (130, 40), (1, 9), (9, 1), (2, 0, 300)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16, FLOAT16])
def test_singular_values_come_to_one_whatever_is_chosen(
    shape: tuple[int, ...], dtype: torch.dtype, has_fast_bfloat16: bool
) -> None:
    orthogonal = exact_polar(gaussian(shape)).float()
    matrices = (0.6 * orthogonal + 0.4 * exact_polar(gaussian(shape, seed=1)).float()).to(dtype)
    result = polar_express(matrices)
    assert result.dtype == dtype
    assert result.shape == shape
    assert result.is_contiguous()
    if result.numel():
        values = torch.linalg.svdvals(result.float())
        assert float(values.max()) < 1.2
        assert relative(result, exact_polar(matrices)) < 0.15


def relative(x: Tensor, reference: Tensor) -> float:
    return float(torch.linalg.norm(x.double() - reference.double()) / torch.linalg.norm(reference.double()))


@pytest.mark.parametrize("shape", [(128, 128), (128, 512), (2, 512, 128), (40, 130)])
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_scale_changes_no_bit(shape: tuple[int, ...], scale: float, has_fast_bfloat16: bool) -> None:
    matrices = gaussian(shape)
    assert torch.equal(polar_express(matrices * scale), polar_express(matrices))


@pytest.mark.parametrize("shape", [(128, 128), (128, 512), (2, 512, 128), (40, 130)])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_leaves_the_rounding_of_its_dtype(shape: tuple[int, ...], scale: float, has_fast_bfloat16: bool) -> None:
    matrices = gaussian(shape)
    is_bfloat16 = chosen_dtype(matrices, 5) == BFLOAT16
    error = relative(polar_express(matrices * scale), polar_express(matrices))
    assert error < (0.05 if is_bfloat16 else 1e-3)


@pytest.mark.parametrize("shape", [(128, 128), (128, 512), (3, 512, 128)])
def test_strides_do_not_matter_and_the_argument_stays(shape: tuple[int, ...], has_fast_bfloat16: bool) -> None:
    matrices = gaussian((*shape[:-1], 2 * shape[-1]))[..., ::2]
    before = matrices.clone()
    result = polar_express(matrices)
    # The norm is summed in another order.
    bound = 0.05 if chosen_dtype(matrices, 5) == BFLOAT16 else 1e-3
    for copy in (matrices.contiguous(), matrices.mT.contiguous().mT):
        assert relative(result, polar_express(copy)) < bound
    result.zero_()
    assert torch.equal(matrices, before)


@pytest.mark.parametrize("shape", [(128, 128), (128, 512), (512, 128)])
def test_stack_is_a_loop(shape: tuple[int, ...], has_fast_bfloat16: bool) -> None:
    stack = gaussian((2, 2, *shape))
    loop = torch.stack([polar_express(matrices) for matrices in stack.flatten(end_dim=1)]).view(stack.shape)
    assert relative(polar_express(stack), loop) < 1e-2


def test_no_gradient_flows(has_fast_bfloat16: bool) -> None:
    for shape in [(128, 512), (4, 4)]:
        assert not polar_express(gaussian(shape).requires_grad_()).requires_grad


def test_steps_and_compute_dtype_are_obeyed(has_fast_bfloat16: bool) -> None:
    matrices = gaussian((128, 512))
    exact = exact_polar(matrices)
    assert relative(polar_express(matrices, steps=7), exact) < 1e-4
    by_default = polar_express(matrices)
    assert torch.equal(by_default, polar_express(matrices, compute_dtype=BFLOAT16)) == has_fast_bfloat16
    assert torch.equal(by_default, polar_express(matrices, compute_dtype=FLOAT32)) == (not has_fast_bfloat16)


def test_compiles_in_one_graph(has_fast_bfloat16: bool) -> None:
    torch._dynamo.reset()
    compiled: Any = torch.compile(polar_express, backend="eager", fullgraph=True)
    for shape in [(8, 12), (128, 512), (3, 384, 128), (128, 128), (40, 130)]:
        matrices = gaussian(shape)
        # A graph takes the norms as a GPU does, and rounds them otherwise.
        bound = 0.05 if chosen_dtype(matrices, 5) == BFLOAT16 else 1e-3
        assert relative(compiled(matrices), polar_express(matrices)) < bound
    torch._dynamo.reset()
