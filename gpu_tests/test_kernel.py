"""The Triton kernel on the device: every case of tests/polar, every configuration, and sizes for a GPU alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from exact_stacks import gaussian, integers, mirrored
from kernel_cases import Case, interpret_in_place, iteration, size_cases, table
from torch import Tensor
from triton import Config

from steadydecay.polar.choice import SMALLEST_TRITON_SIDE, products_for
from steadydecay.polar.gpu.triton_kernels import (
    CONFIGURATIONS,
    INTERPRETED_CONFIGURATIONS,
    symmetric_product,
    symmetric_product_kernel,
)
from steadydecay.polar.gpu.triton_products import TritonProducts
from steadydecay.polar.products import GEMM_PRODUCTS, GemmProducts

NUMBERS = {"rounding", "iteration", "errors"}
# Most of the cases and of the time; in the interpreter they are run by tests/polar.
LAYOUTS_AND_STRIDES = ("gram of", "symmetric of", "far")
LARGE_SIDE = {"cuda": 2048, "cpu": 48}
# Of matrices of that side, enough for more than 2³¹ entries.
LARGE_BATCH = {"cuda": 520, "cpu": 3}


@pytest.fixture(autouse=True)
def in_place() -> None:
    interpret_in_place()


@pytest.fixture
def use_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[Config], None]:
    return lambda configuration: monkeypatch.setattr(symmetric_product_kernel, "configs", [configuration])


def failures(cases: dict[str, Case]) -> list[tuple[str, str]]:
    found = {name: case() for name, case in cases.items() if name not in NUMBERS}
    return [(name, fact) for name, facts in found.items() for fact, holds in facts.items() if holds is not True]


def test_every_case_of_the_interpreter_holds(device: str, use_only: Any) -> None:
    configuration = CONFIGURATIONS[0] if device == "cuda" else INTERPRETED_CONFIGURATIONS[0]
    use_only(configuration)
    cases = table(configuration.kwargs["BLOCK"])
    left_out = () if device == "cuda" else LAYOUTS_AND_STRIDES
    assert failures({name: case for name, case in cases.items() if not name.startswith(left_out)}) == []
    # The interpreter cuts bfloat16 off, which is a whole unit.
    assert max(cases["rounding"]().values()) <= (0.51 if device == "cuda" else 1.001)
    assert 0 < max(cases["iteration"]().values()) < 0.01


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)
def test_every_configuration_is_exact(configuration: Config, device: str, use_only: Any) -> None:
    use_only(configuration)
    block = configuration.kwargs["BLOCK"] if device == "cuda" else 16
    assert failures(size_cases(block)) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_choosing_a_configuration_leaves_an_addend_that_is_out(dtype: torch.dtype, device: str) -> None:
    n = LARGE_SIDE[device]
    left, addend = integers((2, n, 16), 0), mirrored(integers((2, n, n), 1))
    out = addend.to(dtype)
    symmetric_product(left.to(dtype), left.mT.to(dtype), out, -3.0, 0.5, out=out)
    assert torch.equal(out.double(), -3 * addend + 0.5 * left @ left.mT)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_products_are_as_near_to_float64_as_one_rounding(dtype: torch.dtype, device: str) -> None:
    n = LARGE_SIDE[device]
    x = (gaussian((1, n, 2 * n), 0) / (2 * n) ** 0.5).to(dtype)
    reference = x.double() @ x.double().mT
    product = TritonProducts().gram(x)
    torch.testing.assert_close(product.double(), reference, rtol=torch.finfo(dtype).eps, atol=1e-5)
    assert torch.equal(product, product.mT)
    assert torch.equal(TritonProducts().gram(x.mT.contiguous().mT), product)


def test_the_last_matrix_of_a_long_stack_is_right(device: str) -> None:
    n, batch = LARGE_SIDE[device], LARGE_BATCH[device]
    x = torch.zeros((batch, n, n), dtype=torch.float16)
    last = integers((n, n), 0) * (torch.arange(n) < 200)
    x[-1] = last
    product = TritonProducts().gram(x)
    assert torch.equal(product[-1].double(), last @ last.mT)
    assert not product[:-1].any()


def test_polar_express_of_both_products_agrees(device: str) -> None:
    n = LARGE_SIDE[device]
    x = gaussian((2, n, 2 * n), 0)
    x = (x / torch.linalg.matrix_norm(x)[:, None, None] / 1.01).to(torch.float16)
    by_triton, by_torch = iteration(TritonProducts(), x).double(), iteration(GemmProducts(), x).double()
    assert float((by_triton - by_torch).norm() / by_torch.norm()) < 0.01


def test_this_device_runs_what_is_asked_for(device: str, caplog: pytest.LogCaptureFixture) -> None:
    x = torch.zeros((1, SMALLEST_TRITON_SIDE, SMALLEST_TRITON_SIDE), dtype=torch.float16)
    chosen = products_for(x, "triton")
    assert isinstance(chosen, TritonProducts if device == "cuda" else GemmProducts)
    assert products_for(x, "torch") is GEMM_PRODUCTS
    assert products_for(x.float(), "triton") is GEMM_PRODUCTS
    assert caplog.records == []
    assert not chosen.gram(x[:, :64, :64]).any()


def test_the_kernel_runs_on_the_device_of_its_operands(device: str) -> None:
    """Not on the current one, where there are several."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if device == "cuda" else ["cpu"]
    values: Tensor = integers((1, 32, 16), 0)
    for name in names:
        product = TritonProducts().gram(values.to(name, torch.float16))
        assert torch.equal(product.to(values.device).double(), values @ values.mT)
