"""What is said about the cost of a polar factor beside what it is."""

import pytest
import torch

from steadydecay.bench.work import PLAIN, polar_work
from steadydecay.polar import choice, polar_express_of_each
from steadydecay.polar.cost import multiplications, workspace_bytes
from step_costs import peak_bytes

# Alone, alone and long, in stacks, small; wide, square and tall.
SHAPES = [(384, 1536), (1536, 384), (512, 512), (256, 3200), (3200, 256), (512, 1024), (256, 256), (2, 640, 130)]
# Dtype, threads, and whether the CPU has fast products in bfloat16: each pair of values of two of them.
SETTINGS = [
    (torch.float32, 1, True),
    (torch.float32, 2, False),
    (torch.bfloat16, 1, False),
    (torch.bfloat16, 2, True),
    (torch.float64, 1, False),
    (torch.float64, 2, True),
]
# For xxᵀ of a long matrix.
OF_THE_LIBRARY_OF_PRODUCTS = 24 * 10**5


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (2, 3, 4, 4), (0, 7, 7), (4, 0)])
def test_multiplications_are_half_the_operations_of_the_plain_form(shape: tuple[int, ...]) -> None:
    matrices = torch.empty(shape)
    count = matrices[..., 0, 0].numel() if 0 not in shape[-2:] else 1
    assert 2 * multiplications(matrices, 5) == count * polar_work((shape[-2], shape[-1]), PLAIN)
    assert multiplications(matrices, 10) == 2 * multiplications(matrices, 5)


@pytest.mark.parametrize(("dtype", "threads", "is_fast"), SETTINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_workspace_is_enough(
    shape: tuple[int, ...], dtype: torch.dtype, threads: int, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "HAS_FAST_BFLOAT16", is_fast)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        matrices = torch.randn(shape).to(dtype)
        said = workspace_bytes(matrices, 5)
        peak = peak_bytes(lambda: polar_express_of_each([matrices]))
    finally:
        torch.set_num_threads(before)
    assert peak <= said + OF_THE_LIBRARY_OF_PRODUCTS
    # Nor is it said to be much more than it is.
    assert peak >= 0.7 * said


def test_what_a_gpu_takes_is_a_bound_for_every_form() -> None:
    assert workspace_bytes(torch.empty(300, 500, device="meta"), 5) == 8 * 300 * 500
