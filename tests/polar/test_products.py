"""Which products a stack gets and what is said about it; torch's own products beside their definitions."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from steadydecay.norms import Spectral, SpectralConv, norm_for
from steadydecay.polar import choice, polar_express
from steadydecay.polar.choice import SMALLEST_TRITON_SIDE, products_for
from steadydecay.polar.gpu.obstacles import alignment_obstacle, architecture_obstacle, triton_obstacle
from steadydecay.polar.gpu.triton_products import TritonProducts
from steadydecay.polar.products import GEMM_PRODUCTS, GemmProducts

NOT_USED = "products='triton' is not used, and symmetric products take twice the work they need, because"

FLOAT16, BFLOAT16, FLOAT32, FLOAT64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
LARGE = (2, SMALLEST_TRITON_SIDE, 2 * SMALLEST_TRITON_SIDE)


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=FLOAT64, generator=torch.Generator().manual_seed(seed))


def commuting() -> tuple[Tensor, Tensor, Tensor]:
    """A stack of symmetric matrices, its square and its cube."""
    square = gaussian(3, 5, 5)
    symmetric = square + square.mT
    return symmetric, symmetric @ symmetric, symmetric @ symmetric @ symmetric


@pytest.mark.parametrize("x", [gaussian(3, 4, 6), gaussian(3, 6, 4).mT], ids=["wide", "view of a tall one"])
def test_gram_is_the_product_with_the_transpose(x: Tensor) -> None:
    expected = torch.einsum("bik,bjk->bij", x, x)
    torch.testing.assert_close(GemmProducts().gram(x), expected)


def test_symmetric_products_add_and_scale() -> None:
    addend, left, right = commuting()
    out = torch.empty_like(addend)
    assert GemmProducts().symmetric(addend, left, right, -3.0, 0.5, out=out) is out
    torch.testing.assert_close(out, -3 * addend + 0.5 * torch.einsum("bik,bkj->bij", left, right))
    torch.testing.assert_close(GemmProducts().symmetric(addend, left, right, -3.0, 0.5), out)


@pytest.mark.parametrize("shape", [(3, 5, 7), (3, 7, 5), (3, 5, 5)], ids=["wide", "tall", "square"])
def test_x_is_transformed_from_its_shorter_side(shape: tuple[int, int, int]) -> None:
    x, (matrix, *_) = gaussian(*shape), commuting()
    factors = (x, matrix) if shape[1] > shape[2] else (matrix, x)
    expected = 2 * x + torch.einsum("bik,bkj->bij", *factors)
    GemmProducts().transform_(x, 2.0, matrix)
    torch.testing.assert_close(x, expected)


def test_x_beside_triton_is_transformed_by_torch(working_triton: Any) -> None:
    matrix, x = gaussian(3, 5, 5), gaussian(3, 5, 7)
    by_torch = x.clone()
    GemmProducts().transform_(by_torch, 2.0, matrix)
    TritonProducts().transform_(x, 2.0, matrix)
    assert torch.equal(x, by_torch)


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Obstacles are looked for once in a process."""
    remembered = (architecture_obstacle, triton_obstacle, choice._say_once)
    for function in remembered:
        function.cache_clear()
    yield
    for function in remembered:
        function.cache_clear()


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors of a GPU that is not there."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla")
    with FakeTensorMode():
        yield


@pytest.fixture
def working_triton(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Stacks that were given to a kernel that does nothing."""
    calls: list[Tensor] = []
    monkeypatch.setattr(TritonProducts, "gram", lambda self, x: calls.append(x))
    return calls


def tritons_for(x: Tensor) -> Any:
    """The products of a stack for which Triton's are asked."""
    return products_for(x, "triton")


def on_gpu(shape: tuple[int, ...], dtype: torch.dtype = FLOAT16) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="cuda")


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64])
def test_a_cpu_always_takes_torchs_products(dtype: torch.dtype, caplog: pytest.LogCaptureFixture) -> None:
    assert tritons_for(torch.empty(LARGE, dtype=dtype, device="meta")) is GEMM_PRODUCTS
    assert tritons_for(torch.empty((1, 4, 4), dtype=dtype)) is GEMM_PRODUCTS
    assert caplog.records == []


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16])
@pytest.mark.parametrize("shape", [LARGE, (2, LARGE[2], LARGE[1]), (1, LARGE[1], LARGE[1])])
def test_large_half_precision_stacks_on_a_gpu_take_tritons(
    hopper: None,
    working_triton: list[Tensor],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert isinstance(tritons_for(on_gpu(shape, dtype)), TritonProducts)
    assert isinstance(tritons_for(on_gpu(shape, dtype).mT), TritonProducts)
    assert len(working_triton) == 1
    assert caplog.records == []


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16])
def test_a_gpu_takes_torchs_where_nobody_asks_for_tritons(
    hopper: None, working_triton: list[Tensor], dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    assert products_for(on_gpu(LARGE, dtype), "torch") is GEMM_PRODUCTS
    assert working_triton == caplog.records == []


@pytest.mark.parametrize("name", ["spectral", "spectral_conv"])
def test_a_group_asks_for_tritons_by_name(
    hopper: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    monkeypatch.setattr(torch.version, "hip", "7.0")
    kernel = on_gpu((1, 2048, 2048), torch.float32)
    kernel = kernel if name == "spectral" else kernel.view(1, 2048, 2048, 1, 1)
    norm_for(name, kernel.ndim - 1).lmo(kernel)
    assert caplog.records == []
    norm_for({"name": name, "products": "triton"}, kernel.ndim - 1).lmo(kernel)
    assert caplog.messages == [f"{NOT_USED} it has not been tried on AMD GPUs."]


@pytest.mark.parametrize("make", [Spectral, SpectralConv, partial(polar_express, torch.eye(4))])
@pytest.mark.parametrize("name", ["cublas", "", None])
def test_unknown_products_are_an_error(make: Any, name: Any) -> None:
    with pytest.raises(ValueError, match=f"products is {name!r}; it must be one of 'torch', 'triton'"):
        make(products=name)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, SMALLEST_TRITON_SIDE - 16, LARGE[2]), FLOAT16), (LARGE, FLOAT32), ((2, LARGE[2], 1024), BFLOAT16)],
)
def test_small_and_precise_stacks_take_torchs_without_a_word(
    hopper: None, working_triton: list[Tensor], shape: tuple[int, ...], dtype: torch.dtype, caplog: Any
) -> None:
    assert tritons_for(on_gpu(shape, dtype)) is GEMM_PRODUCTS
    assert working_triton == caplog.records == []


def assert_falls_back_and_says_once(stack: Tensor, message: str, caplog: pytest.LogCaptureFixture) -> None:
    assert tritons_for(stack) is GEMM_PRODUCTS
    assert tritons_for(stack) is GEMM_PRODUCTS
    assert [(record.name, record.levelno) for record in caplog.records] == [(choice.__name__, logging.WARNING)]
    assert caplog.messages == [f"{NOT_USED} {message}."]


def test_an_old_gpu_falls_back(
    hopper: None, working_triton: list[Tensor], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    message = "Tesla has compute capability 7.5, but the kernel needs 8.0"
    assert_falls_back_and_says_once(on_gpu(LARGE), message, caplog)
    assert working_triton == []


def test_an_amd_gpu_falls_back(
    hopper: None, working_triton: list[Tensor], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.version, "hip", "7.0")
    assert_falls_back_and_says_once(on_gpu(LARGE), "it has not been tried on AMD GPUs", caplog)


def test_sides_that_are_no_multiples_fall_back(
    hopper: None, working_triton: list[Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    message = "the sides, strides and offset of 2048x4100 matrices must be multiples of 16 entries"
    assert_falls_back_and_says_once(on_gpu((2, 2048, 4100)), message, caplog)
    assert tritons_for(on_gpu((2, 2049, 4096))) is GEMM_PRODUCTS
    assert len(caplog.records) == 2


def test_without_triton_a_gpu_falls_back(
    hopper: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "steadydecay.polar.gpu.triton_kernels", raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    assert tritons_for(on_gpu(LARGE)) is GEMM_PRODUCTS
    assert tritons_for(on_gpu(LARGE, BFLOAT16)) is GEMM_PRODUCTS
    (message,) = caplog.messages
    assert message.startswith(f"{NOT_USED} triton cannot be imported (import of ")
    assert message.endswith("; install it with pip install triton.")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Failed to find C compiler.\nmore"), "RuntimeError: Failed to find C compiler."),
        (OSError(), "OSError: "),
    ],
)
def test_a_triton_that_does_not_run_falls_back(
    hopper: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, said: str
) -> None:
    def fail(self: TritonProducts, x: Tensor) -> Tensor:
        raise error

    monkeypatch.setattr(TritonProducts, "gram", fail)
    assert_falls_back_and_says_once(on_gpu(LARGE), f"triton is installed but fails ({said})", caplog)


BUFFER = torch.empty((2, 64, 80), dtype=FLOAT16)
ALIGNED = [BUFFER, BUFFER.mT, BUFFER[1:], BUFFER[:, 16:48], BUFFER[:, :, 16:48], BUFFER[:, :, :64].mT, BUFFER[:1]]
MISALIGNED = [
    BUFFER[:, :, 8:40],
    BUFFER[:, :, :24],
    BUFFER[:, :24],
    BUFFER[:, :, ::2][:, :, :32],
    torch.empty((2, 32, 512), dtype=FLOAT16)[:, :, ::16],
    torch.empty((2, 32, 40), dtype=FLOAT16)[:, :, :32],
    torch.empty(32 * 32 * 2 + 8, dtype=FLOAT16).as_strided((2, 32, 32), (32 * 32 + 8, 32, 1)),
]


@pytest.mark.parametrize("x", ALIGNED)
def test_aligned_stacks_meet_no_obstacle(x: Tensor) -> None:
    assert alignment_obstacle(x) == ""


@pytest.mark.parametrize("x", MISALIGNED)
def test_misaligned_stacks_meet_one(x: Tensor) -> None:
    assert "must be multiples of 16 entries" in alignment_obstacle(x)


def run_python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def test_the_package_does_not_import_triton_and_works_without() -> None:
    program = """
import sys
sys.modules["triton"] = None
import torch, steadydecay as sd
from steadydecay.polar.choice import products_for
from steadydecay.polar import polar_express
weight = torch.nn.Parameter(torch.ones(256, 512))
weight.grad = torch.eye(256, 512)
sd.ScionC([weight], lr=0.1).step()
print(bool(polar_express(torch.eye(300)).any()), products_for(weight.data[None], "triton"))
"""
    assert run_python(program).startswith("True <steadydecay.polar.products.GemmProducts")


def test_the_package_leaves_an_installed_triton_alone() -> None:
    program = """
import sys, torch, steadydecay as sd
from steadydecay.polar.choice import products_for
from steadydecay.polar import polar_express
before = "triton" in sys.modules
polar_express(torch.eye(256))
products_for(torch.eye(256).half()[None], "triton")
print(before, "triton" in sys.modules)
"""
    assert run_python(program) == "False False"
